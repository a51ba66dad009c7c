/** Plays the named cases on the real stack with stand-ins; what they leave is recorded. */
import { randomUUID } from 'node:crypto';
import type { BudgetCommand } from '../../core/budget/commands';
import { setPlatformQuotas } from '../../store/leases';
import { resetToBegin } from '../../test/support/reset';
import { until, type StartTestRun, type TestStack } from '../../test/support/stack';
import { budgetWorkflowId, taskQueues } from '../../contracts/messages';
import type { FixedReply } from '../stand-ins/knobs';
import type { CaseName } from './names';
import { answerAsked, isAsking } from './money-answers';
import { comesBack, comesBackAfterRefusal, holdAll, parentOf, statusOf } from './held-back';
import { playConversation } from './conversations';
import { addOwnTool } from './own-tool';
import { decide, raise } from './people';
import { long, type Recorded } from './recorded';
import { forgetOnce, lookAfterOnce, sweepOnce, upkeepOf } from './upkeep-cases';

const file = { name: 'data.csv', content: 'name,amount\na,1\nb,2\n' };

export async function play(stack: TestStack, name: CaseName): Promise<Recorded[]> {
  Object.assign(stack.anthropic.knobs, {
    failNext: [],
    replies: [],
    lastReply: undefined,
    latencyMs: 0,
    deltaSpacingMs: 0,
  });
  if (name === 'awake' || name === 'lost' || name === 'rung' || name === 'told') return lookAfterOnce(stack, name);
  if (name === 'kept-looking') return upkeepOf(stack, 'lookAfter');
  if (name === 'kept-sweeping') return upkeepOf(stack, 'sweepSandboxes');
  if (name === 'kept-forgetting') return upkeepOf(stack, 'forgetOld');
  if (name === 'swept') return sweepOnce(stack);
  if (name === 'forgotten') return forgetOnce(stack);
  if (name === 'budget-continued' || name === 'budget-carried' || name === 'budget-drained')
    return continueAuthority(stack, name);
  if (name === 'nonsense') return startNonsense(stack);
  return name.startsWith('talk-') ? playConversation(stack, name) : playRun(stack, name);
}

async function startNonsense(stack: TestStack): Promise<Recorded[]> {
  const { runs, budget } = taskQueues(stack.prefix);
  const queues = { agentRun: runs, conversation: runs, tenantBudget: budget, lookAfter: budget };
  const types = Object.keys(queues) as (keyof typeof queues)[];
  return Promise.all(
    types.map(async (type) => {
      const workflowId = `nonsense/${randomUUID()}`;
      await stack.temporal.workflow.start(type, { workflowId, taskQueue: queues[type], args: ['nonsense'] });
      await stack.ended(workflowId);
      return { workflowId, type };
    }),
  );
}

const code = (text: string): FixedReply => ({ text: '', code: `console.log(${JSON.stringify(text)})` });

/** As often as a run may ask. */
const looks = (said: string): FixedReply[] => Array.from({ length: 60 }, () => ({ ...code(said), text: 'I looked.' }));

/** What the model of a run says, where that is all there is to its case. */
const saidBy: Partial<Record<CaseName, readonly FixedReply[]>> = {
  'ended-failed': [code('said')],
  'run-model-refused': [{ text: 'I', isRefusal: true }],
  'run-answer-repaired': [{ text: 'forty-two' }, { text: '42' }],
  'run-answer-invalid': [{ text: 'forty-two' }, { text: '"42"' }],
  'run-no-answer': [{}, {}],
  'run-last-call': looks(long),
  'run-last-answered': looks('said'),
  'run-last-refused': looks('said'),
  'run-last-wordless': looks('said'),
  'run-own-tool': [{ text: '', tools: [{ name: 'weather', input: { place: 'Ulm' } }] }, { text: '21 degrees.' }],
};

/** What it says in its last call, for which the others leave no more money. */
const saidAtLast: Partial<Record<CaseName, FixedReply>> = {
  'run-last-answered': { text: 'What I found.' },
  'run-last-refused': { text: 'I', isRefusal: true },
  'run-last-wordless': {},
};
const endsInLastCall = { limits: { maxCostUsd: '0.05', maxOutputTokens: 300, maxSteps: 60, lastCall: true } };

async function playRun(stack: TestStack, name: CaseName): Promise<Recorded[]> {
  const limits: Partial<Record<CaseName, string>> = {
    denied: '0.01',
    'ended-denied': '0.001',
    'run-waited': '0.001',
    'run-woken': '0.001',
    'run-planned-again': '0.001',
    'run-shown': '0.001',
  };
  const tenantId = await stack.tenant(limits[name] ?? (isAsking(name) ? '0.001' : '5'));
  const { knobs } = stack.anthropic;
  knobs.replies = [...(saidBy[name] ?? [])];
  knobs.lastReply = saidAtLast[name];
  const more: Partial<Record<CaseName, Omit<StartTestRun, 'tenantId'>>> = {
    'run-approved': { tools: [{ name: 'run_code', requiresApproval: true }] },
    'run-refused': { tools: [{ name: 'run_code', requiresApproval: true }] },
    'run-refused-nothing-made': { tools: [{ name: 'run_code', requiresApproval: true, priceUsd: '0.25' }] },
    'run-compacted': { compaction: { contextTokens: 3_000, atShare: 0.7 } },
    'run-held-compacted': { compaction: { contextTokens: 3_000, atShare: 0.7 } },
    'run-waited': { onDenied: 'wait' },
    'run-woken': { onDenied: 'wait' },
    'run-planned-again': { onDenied: 'wait' },
    'run-shown': { onDenied: 'wait', userId: 'ada' },
    'run-granted': { onDenied: 'ask' },
    'run-asks-for-all': { onDenied: 'ask' },
    'run-more-refused': { onDenied: 'ask' },
    'run-unanswered': { onDenied: 'ask', askDays: 3 / 86_400 },
    'run-extended': { sandbox: { windowSeconds: 10, executionSeconds: 60 } },
    'run-paid-tool': { tools: [{ name: 'run_code', priceUsd: '0.25' }] },
    'run-own-tool': { tools: [{ name: 'weather' }] },
    'run-fallback': { fallbackModels: ['gpt-4o'] },
    'ended-failed': { limits: { maxSteps: 1 } },
    'run-last-call': { limits: { maxCostUsd: '0.07', maxOutputTokens: 300, maxSteps: 60, lastCall: true } },
    'run-last-answered': endsInLastCall,
    'run-last-refused': endsInLastCall,
    'run-last-wordless': endsInLastCall,
    'run-last-held-back': { limits: { maxCostUsd: '1', lastCall: true } },
    'run-answer-repaired': { answerSchema: { type: 'integer' } },
    'run-answer-invalid': { answerSchema: { type: 'integer' } },
    'run-guaranteed': { limits: { guaranteedUsd: '2' } },
    'run-guaranteed-reset': { limits: { guaranteedUsd: '3' } },
    'run-last-unused': { limits: { maxCostUsd: '1', lastCall: true } },
  };
  if (name === 'retried') knobs.failNext = [{ type: 'status', status: 529 }, { type: 'cut-before-usage' }];
  const isCancelled = name === 'cancelled' || name === 'ended-cancelled';
  if (isCancelled || name === 'run-guaranteed-reset') knobs.deltaSpacingMs = 30_000;
  if (name === 'run-fallback') knobs.failNext = [529, 529].map((status) => ({ type: 'status', status }));
  if (name === 'run-room-waited') stack.e2b.knobs.failCreateNext = [503, 503, 503, 429];
  const asksPerson = name === 'run-approved' || name.startsWith('run-refused');
  if (asksPerson || name === 'run-paid-tool') knobs.replies = [code('said'), { text: 'done' }];
  if (name === 'run-extended')
    knobs.replies = [{ text: '', code: 'setTimeout(() => console.log(1), 12000)' }, { text: 'done' }];
  if (name === 'run-compacted' || name === 'run-held-compacted')
    knobs.replies = [code(long), code(long), code(long), { text: 'a summary' }, { text: 'done' }];
  if (name === 'leased') {
    const quotas = [{ resourceType: 'all' as const, period: 'month' as const, limitUsd: '5' }];
    await setPlatformQuotas(stack.pool, { changes: quotas, by: { author: 'recorder' } });
  }
  const addresses = name === 'run-own-tool' ? await addOwnTool(stack, tenantId) : undefined;
  const parent = name === 'run-held-by-siblings' ? await parentOf(stack, tenantId) : undefined;
  const isHeldBack = name === 'run-held-back' || name === 'run-last-held-back';
  const held = parent || isHeldBack ? await holdAll(stack, tenantId, parent) : undefined;
  const ofParent = parent ? { parentRunId: parent.id } : {};
  const started = await stack.start({ tenantId, task: 'Profile this file.', file, ...ofParent, ...more[name] });
  const { runId, workflowId } = started;
  if (held) await (parent ? comesBackAfterRefusal : comesBack)(stack, { tenantId, runId }, held);
  if (name === 'run-guaranteed-reset') {
    await until('the call began', () => stack.anthropic.calls().inFlight > 0);
    knobs.deltaSpacingMs = 0;
    await resetToBegin(stack, workflowId);
  }
  if (isCancelled) {
    await until('the call began', () => stack.anthropic.calls().inFlight > 0);
    await stack.temporal.workflow.getHandle(workflowId).cancel();
  }
  if (asksPerson) await decide(stack, { tenantId, runId, workflowId }, name);
  if (['run-waited', 'run-woken', 'run-shown', 'run-planned-again'].includes(name)) {
    await until('it waits', async () => (await stack.show({ tenantId, runId })).status === 'waiting_for_money');
    await raise(stack, tenantId);
  }
  await answerAsked(stack, name, { tenantId, workflowId });
  await stack.finish({ tenantId, ...started });
  await addresses?.close();
  return [
    { workflowId, type: 'agentRun' },
    { workflowId: budgetWorkflowId(tenantId), type: 'tenantBudget' },
  ];
}

/** An authority that continues as new while a reservation is open, which runs out under its successor before anything else comes. */
async function continueAuthority(stack: TestStack, name: CaseName): Promise<Recorded[]> {
  const tenantId = await stack.tenant('5');
  const workflowId = budgetWorkflowId(tenantId);
  const handle = stack.temporal.workflow.getHandle(workflowId);
  const runIds = new Set<string>();
  let last = '';
  while (runIds.size < 2) {
    last = randomUUID();
    const reserve: BudgetCommand = {
      type: 'reserve',
      operationId: last,
      resource: 'llm',
      amountUsd: '0.01',
      priceVersion: 'recorder',
      ttlSeconds: 3,
      kind: 'external.call',
    };
    await stack.signal(tenantId, [reserve]);
    await until('it is decided', async () => (await statusOf(stack, last)) === 'granted');
    runIds.add((await handle.describe()).runId);
  }
  await until('it ran out', async () => (await statusOf(stack, last)) === 'expired');
  const [before = '', after = ''] = runIds;
  return [{ workflowId, runId: name === 'budget-carried' ? after : before, type: 'tenantBudget' }];
}
