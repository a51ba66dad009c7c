/**
 * Every change of what workflows do that an open history has to be led around: `isPatched` answers no where the history was
 * written before the change. A workflow that lives long goes on under new code, so its changes are here; an agent run is pinned to
 * the version that began it where workers have versions (docs/operations.md), and replays on later ones all the same.
 *
 * An entry may go, with the code behind `isPatched`, in a version whose oldest open history was begun after `since`: until then
 * replace the question by `deprecatePatch`. Golden histories with and without each patch are in test/replay.
 */
import { patched } from '@temporalio/workflow';

export const patches = {
  'lost-runs': {
    workflow: 'lookAfter',
    since: '0.1.0',
    change: 'Runs whose workflow is gone are ended on record, beside waking sleeping authorities.',
  },
  conversations: {
    workflow: 'lookAfter',
    since: '0.1.0',
    change: 'Conversations are told of messages that nobody told them of.',
  },
  decisions: {
    workflow: 'lookAfter',
    since: '0.1.0',
    change: 'Workflows are told of decisions of people that nobody told them of.',
  },
  'run-page': {
    workflow: 'agentRun, conversation',
    since: '0.1.0',
    change: 'Search attributes say while it goes on whether it holds money, was denied, waits, and what it cost.',
  },
  upkeep: {
    workflow: 'lookAfter, sweepSandboxes, forgetOld',
    since: '0.1.0',
    change:
      'One workflow goes on for good and continues as new, in the place of one for each round; a look after is one activity.',
  },
  endings: {
    workflow: 'agentRun, conversation',
    since: '0.1.0',
    change:
      'What was denied or failed ends its workflow as Failed, with the code as its type; what was cancelled, as Cancelled.',
  },
  'refused-tools': {
    workflow: 'agentRun, conversation',
    since: '0.1.0',
    change: 'Calls that people refused, and calls of tools that there are not, get no sandbox and no reservation.',
  },
  drained: {
    workflow: 'tenantBudget',
    since: '0.1.0',
    change:
      'An authority decides what the next execution cannot be given before it continues as new, in the place of leaving it behind.',
  },
  'woken-at-once': {
    workflow: 'tenantBudget',
    since: '0.1.0',
    change:
      'Those that wait for money are looked at without a timer before, which a server fires up to a second late. Asked of tenants that have some only.',
  },
  'planned-again': {
    workflow: 'agentRun, conversation',
    since: '0.1.0',
    change: 'A step that waited for money, or paused, is planned at the prices of now before it is asked for again.',
  },
  'last-call': {
    workflow: 'agentRun, conversation',
    since: '0.1.0',
    change: 'Money for a last call is held where the input says so, and that call is made where money is wanting.',
  },
  'answers-fit': {
    workflow: 'agentRun, conversation',
    since: '0.1.0',
    change:
      'An answer that is none, or does not fit its schema, is asked for once more, and ends its run or turn as failed (`answer_invalid`) when that is so again. Asked of such answers only.',
  },
  'held-before-compacted': {
    workflow: 'agentRun, conversation',
    since: '0.1.0',
    change: 'The money of a step is held before its context is summed up, with what is left and in full or not at all.',
  },
  'inputs-read': {
    workflow: 'agentRun, conversation, tenantBudget',
    since: '0.1.0',
    change:
      'An input that cannot be used ends its workflow as Failed at once (`invalid_request`). Asked of such inputs only: others have no mark.',
  },
  refusals: {
    workflow: 'agentRun, conversation',
    since: '0.1.0',
    change:
      'An answer in which the model refuses ends its run or turn as failed (`model_refused`), and no tool that it called is run.',
  },
  'room-waited-for': {
    workflow: 'agentRun, conversation',
    since: '0.1.0',
    change: 'A step whose last attempt found no room at its provider waits for some, as those before it did.',
  },
  'holds-waited-for': {
    workflow: 'agentRun, conversation',
    since: '0.1.0',
    change: 'A step that is denied for what others hold waits some seconds for that before it fails.',
  },
  'run-holds-waited-for': {
    workflow: 'agentRun, conversation',
    since: '0.1.0',
    change:
      "A step that its run's limit refuses for what others hold of it asks again for some seconds before it fails. Asked of such refusals only.",
  },
  'last-call-waits': {
    workflow: 'agentRun, conversation',
    since: '0.1.0',
    change:
      'Money for a last call that is denied for what others hold is waited for as that of a step is. Asked of such denials only.',
  },
  guaranteed: {
    workflow: 'agentRun',
    since: '0.1.0',
    change:
      'What a run may surely spend is held before its first step. Asked of runs that have it only: others have no mark.',
  },
  'envelope-kept': {
    workflow: 'agentRun',
    since: '0.1.0',
    change:
      'A run that was reset goes on with the envelope that it holds. Asked of runs that have a guarantee only: others have no mark.',
  },
  'asks-for-all': {
    workflow: 'agentRun, conversation',
    since: '0.1.0',
    change:
      'A step that asks people for money takes all of it or asks for what is lacking. Asked of steps that could use less and whose run asks people only.',
  },
  'within-the-task': {
    workflow: 'agentRun, conversation',
    since: '0.1.0',
    change:
      'A message is taken, a call planned and what was bought read back within the workflow task that needs it, and by an activity only where that takes longer.',
  },
} as const;

export type PatchId = keyof typeof patches;

/** Whether this execution does what the patch brought. Each answer is part of its history. */
export const isPatched = (patchId: PatchId): boolean => patched(patchId);
