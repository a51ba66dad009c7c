/** Conversations: beginning one, sending a message, stopping a turn, closing. */
import type { z } from '@hono/zod-openapi';
import { WorkflowNotFoundError, WorkflowUpdateFailedError } from '@temporalio/client';
import { namespaceIdOf } from '../../temporal/namespace';
import { inOneSpelling, isUuid, parseUuid } from '../../core/ids';
import type { Labels } from '../../core/labels';
import type { ListedRun } from '../../store/run-lists';
import { readCacheSaved, readRunCost } from '../../store/run-steps';
import { createRun, findRun, type Run, type RunFailure } from '../../store/runs';
import { addTurn, endQueuedTurn, listTurns, type TurnView as StoredTurn } from '../../store/turns';
import { closeSignal, conversationWorkflowId, interruptSignal, postMessageUpdate } from '../../contracts/messages';
import type { ProcessDependencies } from '../http/context';
import { ApiError } from '../http/errors';
import { labelsOver } from '../http/labels';
import { answeredBy } from '../http/temporal-answers';
import {
  checkAsking,
  checkLastCall,
  checkModels,
  checkSizes,
  fileOf,
  inputOf,
  optionsOf,
  keptOf,
  unavailablePolicy,
} from '../runs/request';
import { pageOfRuns } from '../runs/service';
import { refuseIfLost, startWorkflow } from '../runs/starting';
import { waitingForOf } from '../runs/states';
import { toolsFor } from '../runs/tools';
import { fileOfRun } from '../runs/transcripts';
import { taskCharsMax } from '../http/schemas';
import type { conversationsView, ConversationView, sentMessageView, StartConversationBody, TurnView } from './schemas';

/** How long a request waits for Temporal to take a message on. */
const ringTimeoutMs = 5_000;

/** Begins a conversation. Repeated with the same id it goes on with the same one. */
export async function startConversation(
  dependencies: ProcessDependencies,
  {
    conversationId,
    tenantId,
    body,
    keyLabels,
    content,
  }: {
    conversationId: string;
    tenantId: string;
    body: StartConversationBody;
    /** Of the key that it came with. */
    keyLabels?: Labels | undefined;
    content?: Buffer | undefined;
  },
): Promise<{ conversationId: string; workflowId: string; status: 'running' }> {
  const model = body.model ?? dependencies.defaultModel;
  const { labels } = labelsOver(body.labels, { inherited: [keyLabels], nothing: 'Nothing was stored.' });
  const sent = fileOf(body, content);
  checkLastCall(body);
  await checkAsking(dependencies, body);
  checkSizes('', sent?.content.length ?? 0);
  const file = await keptOf(sent);
  await checkModels(dependencies, { models: [model, ...(body.fallbackModels ?? [])], body, file });
  const tools = await toolsFor(dependencies, { tenantId, tools: body.tools });
  const unavailable = await unavailablePolicy(dependencies, { tenantId, asked: body.onUnavailable });
  const workflowId = conversationWorkflowId(conversationId);
  const { userId, title } = body;
  const namespace = await namespaceIdOf(dependencies.temporal);
  const run = { runId: conversationId, tenantId, userId, workflowId, namespace, model, task: '', title, file };
  const status = await createRun(dependencies.pool, {
    ...run,
    labels,
    type: 'conversation',
    options: optionsOf(body, { file, tools }),
  });
  if (status === 'failed') await refuseIfLost(dependencies, { tenantId, runId: conversationId });
  await startWorkflow(dependencies, {
    type: 'conversation',
    workflowId,
    input: {
      runId: conversationId,
      tenantId,
      model,
      ...inputOf({ ...body, labels }, tools),
      ...(unavailable ? { unavailable } : {}),
    },
    summary: `Conversation with ${model}`,
  });
  return { conversationId, workflowId, status: 'running' };
}

/** @throws ApiError `not_found`, which does not tell whether another tenant has such a conversation. */
export async function findConversation(
  { pool }: ProcessDependencies,
  { tenantId, conversationId }: { tenantId: string; conversationId: string },
): Promise<Run> {
  const runId = parseUuid(conversationId);
  const run = runId === undefined ? undefined : await findRun(pool, { tenantId, runId });
  if (run?.type !== 'conversation')
    throw new ApiError('not_found', `There is no conversation ${JSON.stringify(conversationId)}.`);
  return run;
}

/** A message that is stored: its turn, and the last event before it. */
export type SentMessage = z.infer<typeof sentMessageView>;

/**
 * Stores a message and tells its conversation. A repeat with the same turn id changes nothing.
 *
 * @throws ApiError `conversation_ended`, or `unavailable` when Temporal does not answer: the message is stored then, and
 * answered when it does.
 */
export async function sendMessage(
  dependencies: ProcessDependencies,
  {
    tenantId,
    conversationId: named,
    turnId,
    message,
  }: { tenantId: string; conversationId: string; turnId: string; message: string },
): Promise<SentMessage> {
  if (message.length > taskCharsMax)
    throw new ApiError(
      'payload_too_large',
      `message: ${message.length} characters; at most ${taskCharsMax} are taken. Nothing was stored.`,
    );
  const conversationId = inOneSpelling(named);
  const key = { tenantId, runId: conversationId };
  const added = isUuid(conversationId) ? await addTurn(dependencies.pool, key, { turnId, message }) : undefined;
  if (!added) {
    const run = await findConversation(dependencies, { tenantId, conversationId });
    throw new ApiError('conversation_ended', `The conversation ${run.runId} has ended. Nothing was stored.`);
  }
  const { number, afterSequence } = added;
  let { status } = added;
  if (status === 'queued' && !(await ring(dependencies, { conversationId, turnId }))) {
    // A look for messages that was under way may have taken it all the same.
    const { turns } = await listTurns(dependencies.pool, key, { turnId });
    status = turns[0]?.status ?? status;
    if (status === 'queued' || status === 'cancelled')
      throw new ApiError(
        'conversation_ended',
        `The conversation ${conversationId} is ending. The message is not answered.`,
      );
  }
  return { turnId, status, number, lastEventId: afterSequence };
}

/** Tells a conversation of a message, and waits until it knows. False when it takes no more. */
async function ring(
  { temporal, log }: ProcessDependencies,
  { conversationId, turnId }: { conversationId: string; turnId: string },
): Promise<boolean> {
  const workflowId = conversationWorkflowId(conversationId);
  const update = () =>
    temporal.withDeadline(Date.now() + ringTimeoutMs, () =>
      // Waited for to its end, which comes in the same task: one that is only started does not say that it was refused.
      temporal.workflow
        .getHandle(workflowId)
        .executeUpdate(postMessageUpdate, { args: [{ turnId }], updateId: turnId }),
    );
  try {
    // An execution that continues as new just now refuses; its successor does not.
    await update().catch((error: unknown) => {
      if (error instanceof WorkflowUpdateFailedError) throw error;
      return update();
    });
    return true;
  } catch (error) {
    if (error instanceof WorkflowUpdateFailedError || error instanceof WorkflowNotFoundError) return false;
    log.warn({ workflowId, error }, 'a conversation could not be told of a message');
    throw new ApiError(
      'unavailable',
      `Nobody took the message within ${ringTimeoutMs / 1_000} s: no worker is there for it, or Temporal does not answer (\`npx spendlock doctor\` says which). The message is stored, and is answered once they are there.`,
      { action: 'Send it again only with the same Idempotency-Key; otherwise it is another message.' },
    );
  }
}

/** Stops a turn: one that has not begun is not begun, the one that runs ends its call and its programs. */
export async function interrupt(
  { pool, temporal }: ProcessDependencies,
  run: Run,
  { turnId }: { turnId?: string | undefined },
): Promise<{ interrupted: 'queued' | 'asked' }> {
  if (run.status !== 'running')
    throw new ApiError('conversation_ended', `The conversation ${run.runId} has ended. Nothing was changed.`);
  if (turnId !== undefined) {
    const failure = { code: 'turn_interrupted', message: 'The turn was interrupted before it began.' };
    if (await endQueuedTurn(pool, run, { turnId, status: 'interrupted', failure })) return { interrupted: 'queued' };
  }
  await signal(run, () =>
    answeredBy(temporal, () =>
      temporal.workflow.getHandle(run.workflowId).signal(interruptSignal, turnId === undefined ? {} : { turnId }),
    ),
  );
  return { interrupted: 'asked' };
}

/** Ends a conversation: its turn is stopped, its sandbox ended, all is settled. */
export async function closeConversation({ temporal }: ProcessDependencies, run: Run): Promise<void> {
  if (run.status !== 'running')
    throw new ApiError('conversation_ended', `The conversation ${run.runId} has ended already. Nothing was changed.`);
  await signal(run, () => answeredBy(temporal, () => temporal.workflow.getHandle(run.workflowId).signal(closeSignal)));
}

async function signal(run: Run, send: () => Promise<void>): Promise<void> {
  try {
    await send();
  } catch (error) {
    if (error instanceof WorkflowNotFoundError)
      throw new ApiError('conversation_ended', `The conversation ${run.runId} has ended. Nothing was changed.`);
    throw new ApiError(
      'unavailable',
      'Temporal did not answer: it may have taken it or not. Try again; a second time does no harm.',
    );
  }
}

/** How much of a first message stands for a title. */
const titleChars = 80;

/** On one line, as people read it in a list. */
function titleOf({ title, beginning, forgottenAt }: Run): string | null {
  if (title !== undefined) return title;
  if (beginning === undefined || forgottenAt) return null;
  const line = beginning.replace(/[\s\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]+/gu, ' ').trim();
  const characters = [...line];
  return characters.length <= titleChars
    ? line
    : `${characters
        .slice(0, titleChars - 1)
        .join('')
        .trimEnd()}…`;
}

export async function showConversation({ pool }: ProcessDependencies, run: Run): Promise<ConversationView> {
  const [costUsd, cacheSavedUsd] = await Promise.all([readRunCost(pool, run), readCacheSaved(pool, run)]);
  return viewOf({ ...run, costUsd, cacheSavedUsd });
}

function viewOf(run: ListedRun): ConversationView {
  return {
    conversationId: run.runId,
    tenantId: run.tenantId,
    userId: run.userId ?? null,
    workflowId: run.workflowId,
    title: titleOf(run),
    status: run.state,
    waitingFor: waitingForOf(run),
    model: run.model,
    labels: run.labels ?? null,
    file: fileOfRun(run),
    costUsd: run.costUsd,
    cacheSavedUsd: run.cacheSavedUsd,
    failure: run.failure ? { ...run.failure } : null,
    createdAt: run.createdAt.toISOString(),
    endedAt: run.endedAt?.toISOString() ?? null,
    forgottenAt: run.forgottenAt?.toISOString() ?? null,
  };
}

/** A tenant's conversations, the newest first. */
export async function showConversations(
  { pool }: ProcessDependencies,
  query: Omit<Parameters<typeof pageOfRuns>[1], 'type'>,
): Promise<z.infer<typeof conversationsView>> {
  const { rows, nextCursor } = await pageOfRuns(pool, { ...query, type: 'conversation' });
  return { conversations: rows.map(viewOf), nextCursor };
}

export const turnViewOf = (turn: StoredTurn & { failure: RunFailure | null }): TurnView => ({
  ...turn,
  failure: turn.failure ? { ...turn.failure } : null,
  createdAt: turn.createdAt.toISOString(),
  startedAt: turn.startedAt?.toISOString() ?? null,
  endedAt: turn.endedAt?.toISOString() ?? null,
});
