/** Plays the named cases on the real stack with stand-ins; what they leave is recorded. */
import { randomUUID } from 'node:crypto';
import {
  closeConversation,
  findConversation,
  interrupt,
  sendMessage,
  startConversation,
} from '../../api/conversations/service';
import { startConversationBody, type StartConversationBody } from '../../api/conversations/schemas';
import { decideApproval } from '../../store/approvals';
import type { BudgetCommand } from '../../core/budget/commands';
import { setPlatformQuotas } from '../../store/leases';
import { setQuotas } from '../../store/quotas';
import { listTurns } from '../../store/turns';
import { resetToBegin } from '../../test/support/reset';
import { until, type StartTestRun, type TestStack } from '../../test/support/stack';
import { budgetWorkflowId, conversationWorkflowId, decideApprovalSignal, taskQueues } from '../../contracts/messages';
import type { CaseName } from './names';
import { answerAsked, isAsking } from './money-answers';
import { comesBack, holdAll, statusOf } from './held-back';
import { askedNext, type Recorded } from './recorded';
import { forgetOnce, lookAfterOnce, sweepOnce, upkeepOf } from './upkeep-cases';

const file = { name: 'data.csv', content: 'name,amount\na,1\nb,2\n' };
const long = 'words that fill the context of the model up to its limit '.repeat(40);

export async function play(stack: TestStack, name: CaseName): Promise<Recorded[]> {
  Object.assign(stack.anthropic.knobs, { failNext: [], replies: [], latencyMs: 0, deltaSpacingMs: 0 });
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

async function playRun(stack: TestStack, name: CaseName): Promise<Recorded[]> {
  const limits: Partial<Record<CaseName, string>> = {
    denied: '0.01',
    'ended-denied': '0.001',
    'run-waited': '0.001',
    'run-planned-again': '0.001',
    'run-shown': '0.001',
  };
  const tenantId = await stack.tenant(limits[name] ?? (isAsking(name) ? '0.001' : '5'));
  const { knobs } = stack.anthropic;
  const code = (text: string) => ({ text: '', code: `console.log(${JSON.stringify(text)})` });
  const more: Partial<Record<CaseName, Omit<StartTestRun, 'tenantId'>>> = {
    'run-approved': { tools: [{ name: 'run_code', requiresApproval: true }] },
    'run-refused': { tools: [{ name: 'run_code', requiresApproval: true }] },
    'run-refused-nothing-made': { tools: [{ name: 'run_code', requiresApproval: true, priceUsd: '0.25' }] },
    'run-compacted': { compaction: { contextTokens: 3_000, atShare: 0.7 } },
    'run-held-compacted': { compaction: { contextTokens: 3_000, atShare: 0.7 } },
    'run-waited': { onDenied: 'wait' },
    'run-planned-again': { onDenied: 'wait' },
    'run-shown': { onDenied: 'wait', userId: 'ada' },
    'run-granted': { onDenied: 'ask' },
    'run-more-refused': { onDenied: 'ask' },
    'run-unanswered': { onDenied: 'ask', askDays: 3 / 86_400 },
    'run-extended': { sandbox: { windowSeconds: 10, executionSeconds: 60 } },
    'run-paid-tool': { tools: [{ name: 'run_code', priceUsd: '0.25' }] },
    'run-fallback': { fallbackModels: ['gpt-4o'] },
    'ended-failed': { limits: { maxSteps: 1 } },
    'run-last-call': { limits: { maxCostUsd: '0.07', maxOutputTokens: 300, maxSteps: 60, lastCall: true } },
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
  if (name === 'ended-failed') knobs.replies = [code('said')];
  if (name === 'run-room-waited') stack.e2b.knobs.failCreateNext = [503, 503, 503, 429];
  if (name === 'run-model-refused') knobs.replies = [{ text: 'I', isRefusal: true }];
  const asksPerson = name === 'run-approved' || name.startsWith('run-refused');
  if (asksPerson || name === 'run-paid-tool') knobs.replies = [code('said'), { text: 'done' }];
  if (name === 'run-answer-repaired') knobs.replies = [{ text: 'forty-two' }, { text: '42' }];
  if (name === 'run-answer-invalid') knobs.replies = [{ text: 'forty-two' }, { text: '"42"' }];
  if (name === 'run-last-call')
    knobs.replies = Array.from({ length: 60 }, () => ({ ...code(long), text: 'I looked.' }));
  if (name === 'run-extended')
    knobs.replies = [{ text: '', code: 'setTimeout(() => console.log(1), 12000)' }, { text: 'done' }];
  if (name === 'run-compacted' || name === 'run-held-compacted')
    knobs.replies = [code(long), code(long), code(long), { text: 'a summary' }, { text: 'done' }];
  if (name === 'leased') {
    const quotas = [{ resourceType: 'all' as const, period: 'month' as const, limitUsd: '5' }];
    await setPlatformQuotas(stack.pool, { changes: quotas, by: { author: 'recorder' } });
  }
  const held = name === 'run-held-back' ? await holdAll(stack, tenantId) : undefined;
  const started = await stack.start({ tenantId, task: 'Profile this file.', file, ...more[name] });
  const { runId, workflowId } = started;
  if (held) await comesBack(stack, { tenantId, runId }, held);
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
  if (name === 'run-waited' || name === 'run-shown' || name === 'run-planned-again') {
    await until('it waits', async () => (await stack.show({ tenantId, runId })).status === 'waiting_for_money');
    await raise(stack, tenantId);
  }
  await answerAsked(stack, name, { tenantId, workflowId });
  await stack.finish({ tenantId, ...started });
  return [
    { workflowId, type: 'agentRun' },
    { workflowId: budgetWorkflowId(tenantId), type: 'tenantBudget' },
  ];
}

async function raise(stack: TestStack, tenantId: string): Promise<void> {
  const resourceTypes = ['all', 'llm', 'e2b'] as const;
  await setQuotas(stack.pool, {
    tenantId,
    changes: resourceTypes.map((resourceType) => ({
      scope: 'tenant',
      scopeId: tenantId,
      resourceType,
      period: 'month',
      limitUsd: '5',
    })),
  });
  await stack.signal(tenantId, [{ type: 'reload' }]);
}

/** Approves or refuses, as the case is named, what is asked next. */
async function decide(
  stack: TestStack,
  { tenantId, runId, workflowId }: { tenantId: string; runId: string; workflowId: string },
  name: CaseName,
): Promise<void> {
  const { approvalId } = await askedNext(stack, { tenantId, runId });
  const decision = name.endsWith('approved') ? 'approve' : 'refuse';
  await decideApproval(stack.pool, { tenantId, approvalId }, { decision, decidedBy: 'recorder' });
  await stack.temporal.workflow.getHandle(workflowId).signal(decideApprovalSignal, { approvalId });
}

async function playConversation(stack: TestStack, name: CaseName): Promise<Recorded[]> {
  const limits: Partial<Record<CaseName, string>> = {
    'talk-denied': '0.025',
    'talk-waited': '0.001',
    'talk-shown': '0.001',
  };
  const tenantId = await stack.tenant(limits[name] ?? '5');
  const options: Partial<Record<CaseName, Partial<StartConversationBody> | object>> = {
    'talk-completed': { sandbox: { pauseAfterSeconds: 1 } },
    'talk-approved': { tools: [{ name: 'run_code', requiresApproval: true }] },
    'talk-refused': { tools: [{ name: 'run_code', requiresApproval: true }] },
    'talk-compacted': { compaction: { contextTokens: 4_000, atShare: 0.7 } },
    'talk-waited': { onDenied: 'wait' },
    'talk-shown': { onDenied: 'wait', userId: 'ada', sandbox: { pauseAfterSeconds: 1 } },
  };
  const body = startConversationBody.parse(options[name] ?? {});
  const conversationId = randomUUID();
  await startConversation(stack.api, { conversationId, tenantId, body });
  const talk = new Talk(stack, tenantId, conversationId);
  const { knobs } = stack.anthropic;
  const code = { text: '', code: 'console.log("said")' };
  switch (name) {
    case 'talk-completed':
      knobs.replies = [code, { text: 'one' }, code, { text: 'two' }];
      await talk.say('First.');
      await until('its sandbox rests', () => stack.e2b.calls().paused.length > 0);
      await talk.say('Second.');
      break;
    case 'talk-compacted':
      for (const text of ['one', 'two', 'three']) {
        knobs.replies = [{ text }];
        await talk.say(`${text}? ${long}`);
      }
      knobs.replies = [{ text: 'a summary' }, { text: 'four' }];
      await talk.say(`four? ${long}`);
      break;
    case 'talk-cancelled':
    case 'talk-ended-cancelled':
    case 'talk-interrupted': {
      knobs.deltaSpacingMs = 30_000;
      await talk.post('Talk.');
      await until('the call began', () => stack.anthropic.calls().inFlight > 0);
      const run = await findConversation(stack.api, { tenantId, conversationId });
      if (name !== 'talk-interrupted') await stack.temporal.workflow.getHandle(talk.workflowId).cancel();
      else await interrupt(stack.api, run, {});
      await talk.quiet();
      break;
    }
    case 'talk-continued':
    case 'talk-carried':
      knobs.replies = [...Array.from({ length: 12 }, () => code), { text: 'done' }];
      await talk.say('Count.');
      break;
    default:
      knobs.replies = [code, { text: 'done' }];
      if (name === 'talk-held-back') {
        const held = await holdAll(stack, tenantId);
        await talk.post('Go on.');
        await comesBack(stack, { tenantId, runId: conversationId }, held);
      } else await talk.post('Go on.');
      if (name === 'talk-approved' || name === 'talk-refused')
        await decide(stack, { tenantId, runId: conversationId, workflowId: talk.workflowId }, name);
      if (name === 'talk-waited' || name === 'talk-shown') {
        await until(
          'it waits',
          async () => (await stack.show({ tenantId, runId: conversationId })).status === 'waiting_for_money',
        );
        await raise(stack, tenantId);
      }
      await talk.quiet();
      if (name === 'talk-shown') await until('its sandbox rests', () => stack.e2b.calls().paused.length > 0);
  }
  if (name !== 'talk-cancelled' && name !== 'talk-ended-cancelled')
    await closeConversation(stack.api, await findConversation(stack.api, { tenantId, conversationId }));
  const { workflowId } = talk;
  const handle = stack.temporal.workflow.getHandle(workflowId);
  await handle.result().catch(() => undefined);
  const last = await handle.fetchHistory();
  const before = last.events?.[0]?.workflowExecutionStartedEventAttributes?.continuedExecutionRunId;
  if (name === 'talk-continued') {
    if (!before) throw new Error('The conversation did not continue as new.');
    return [{ workflowId, runId: before, type: 'conversation' }];
  }
  return [{ workflowId, type: 'conversation' }];
}

/** A conversation, as the API has it. */
class Talk {
  constructor(
    private readonly stack: TestStack,
    private readonly tenantId: string,
    private readonly conversationId: string,
  ) {}

  get workflowId(): string {
    return conversationWorkflowId(this.conversationId);
  }

  async post(message: string): Promise<void> {
    const { tenantId, conversationId } = this;
    await sendMessage(this.stack.api, { tenantId, conversationId, turnId: randomUUID(), message });
  }

  async say(message: string): Promise<void> {
    await this.post(message);
    await this.quiet();
  }

  /** Waits until no message waits for an answer. */
  async quiet(): Promise<void> {
    const key = { tenantId: this.tenantId, runId: this.conversationId };
    await until('all is answered', async () =>
      (await listTurns(this.stack.pool, key)).turns.every(({ status }) => !['queued', 'running'].includes(status)),
    );
  }
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
