/** The cases of conversations: what is said in each, and what they leave to be recorded. */
import { randomUUID } from 'node:crypto';
import {
  closeConversation,
  findConversation,
  interrupt,
  sendMessage,
  startConversation,
} from '../../api/conversations/service';
import { startConversationBody, type StartConversationBody } from '../../api/conversations/schemas';
import { conversationWorkflowId } from '../../contracts/messages';
import { listTurns } from '../../store/turns';
import { until, type TestStack } from '../../test/support/stack';
import { comesBack, holdAll } from './held-back';
import { answerAsked, isAsking } from './money-answers';
import type { CaseName } from './names';
import { decide, raise } from './people';
import { long, type Recorded } from './recorded';

const limits: Partial<Record<CaseName, string>> = {
  'talk-denied': '0.025',
  'talk-waited': '0.001',
  'talk-shown': '0.001',
};
const options: Partial<Record<CaseName, Partial<StartConversationBody> | object>> = {
  'talk-completed': { sandbox: { pauseAfterSeconds: 1 } },
  'talk-approved': { tools: [{ name: 'run_code', requiresApproval: true }] },
  'talk-refused': { tools: [{ name: 'run_code', requiresApproval: true }] },
  'talk-compacted': { compaction: { contextTokens: 4_000, atShare: 0.7 } },
  'talk-waited': { onDenied: 'wait' },
  'talk-shown': { onDenied: 'wait', userId: 'ada', sandbox: { pauseAfterSeconds: 1 } },
  'talk-last-call': { limits: { maxCostUsd: '0.07', maxOutputTokens: 300, maxSteps: 60, lastCall: true } },
  'talk-answer-repaired': { answerSchema: { type: 'integer' } },
  'talk-answer-invalid': { answerSchema: { type: 'integer' } },
  'talk-granted': { onDenied: 'ask' },
  'talk-more-refused': { onDenied: 'ask' },
  'talk-unanswered': { onDenied: 'ask', askDays: 3 / 86_400 },
};

const number = { text: '42' };
/** What is said first, and once it was asked for again. */
const askedAgain = {
  'talk-answer-repaired': [{ text: 'forty-two' }, number],
  'talk-answer-invalid': [{ text: 'forty-two' }, { text: '"42"' }],
  'talk-no-answer': [{}, number],
};

export async function playConversation(stack: TestStack, name: CaseName): Promise<Recorded[]> {
  const tenantId = await stack.tenant(limits[name] ?? (isAsking(name) ? '0.001' : '5'));
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
    case 'talk-last-call':
      knobs.replies = Array.from({ length: 60 }, () => ({ ...code, text: 'I looked.' }));
      await talk.say('Look.');
      break;
    case 'talk-answer-repaired':
    case 'talk-answer-invalid':
    case 'talk-no-answer':
      knobs.replies = askedAgain[name];
      await talk.say('How many?');
      break;
    case 'talk-granted':
    case 'talk-more-refused':
    case 'talk-unanswered':
      await talk.post('Go on.');
      await answerAsked(stack, name, { tenantId, workflowId: talk.workflowId });
      await talk.quiet();
      break;
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
