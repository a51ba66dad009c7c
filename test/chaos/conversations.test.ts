/** Conversations whose worker, API or workflow is lost at the worst moment: they go on, and the books are right. */
import { randomUUID } from 'node:crypto';
import type { FaultPoint } from '../../activities/budget/paid-calls';
import { addTurn } from '../../store/turns';
import type { TestApi } from '../support/api';
import { TestConversation } from '../support/conversations';
import { withInstallation } from '../support/installation';
import { type TestStack, until } from '../support/stack';

describe('a conversation', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made), { worker: false });

  const code = (seconds: number) => ({ text: '', code: `setTimeout(() => console.log('ran'), ${seconds * 1000})` });
  const books = (tenantId: string): Promise<unknown> => stack.books(tenantId);

  const cases: {
    moment: string;
    fault: FaultPoint;
    options?: Record<string, unknown>;
    replies: object[];
    messages: string[];
  }[] = [
    {
      moment: 'it streams a reply',
      fault: 'llm.streaming',
      replies: [{ text: 'a' }, { text: 'b' }],
      messages: ['one'],
    },
    {
      moment: 'a reply was kept and not yet told',
      fault: 'llm.outcome-written',
      replies: [{ text: 'a' }],
      messages: ['one'],
    },
    {
      moment: 'a sandbox is made',
      fault: 'sandbox.created',
      replies: [code(0), { text: 'a' }],
      messages: ['one'],
    },
    {
      moment: 'a sandbox is extended',
      fault: 'sandbox.extended',
      options: { sandbox: { windowSeconds: 10, executionSeconds: 60 } },
      replies: [code(9), { text: 'a' }],
      messages: ['one'],
    },
    {
      moment: 'a sandbox is paused',
      fault: 'sandbox.paused',
      options: { sandbox: { pauseAfterSeconds: 1 } },
      replies: [code(0), { text: 'a' }],
      messages: ['one'],
    },
    {
      moment: 'a sandbox is resumed',
      fault: 'sandbox.resumed',
      options: { sandbox: { pauseAfterSeconds: 1 } },
      replies: [code(0), { text: 'a' }, code(0), { text: 'b' }],
      messages: ['one', 'two'],
    },
  ];

  test.each(cases)(
    'whose worker is killed while $moment goes on, and owes nothing afterwards',
    async ({ fault, options = {}, replies, messages }) => {
      const tenantId = await stack.tenant('5');
      const doomed = await stack.startWorker({ fault });
      const talk = await TestConversation.start(api, tenantId, options);
      stack.anthropic.knobs.replies = replies;
      const turns: string[] = [];
      for (const message of messages) {
        turns.push(await talk.post(message));
        // The sandbox rests before the next message.
        if (messages.length > 1 && turns.length === 1)
          await until('it rests', () => stack.e2b.calls().paused.length === 1);
      }
      await doomed.gone;
      const worker = await stack.startHosted();
      for (const turnId of turns) expect(await talk.ended(turnId)).toBe('completed');
      await talk.close();
      expect(stack.e2b.calls()).toMatchObject({ alive: [], paused: [] });
      await until('all is settled', async () => (await stack.books(tenantId)).openReservations === 0);
      expect(await books(tenantId)).toMatchObject({ ledgerUsd: (await talk.show()).costUsd, reservedUsd: '0' });
      await worker.stop();
    },
  );

  test('that nobody told of a message, since the API ended in between, is told within a minute', async () => {
    const worker = await stack.startHosted();
    const startNow = await stack.takeOverSchedules();
    const talk = await TestConversation.start(api, await stack.tenant('5'));
    await until('it waits', async () => {
      const progress = await stack.temporal.workflow.getHandle(talk.workflowId).query<{ doing: string }>('runProgress');
      return progress.doing === 'waiting for a message';
    });
    const turnId = randomUUID();
    await addTurn(stack.pool, { tenantId: talk.tenantId, runId: talk.id }, { turnId, message: 'Is anybody there?' });
    await stack.admin.query(`UPDATE copilot_internal.turns SET created_at = created_at - interval '1 minute'`);
    await startNow('lookAfter');
    expect(await talk.ended(turnId)).toBe('completed');
    await talk.close();
    await worker.stop();
  });

  test('that was terminated takes no message, and says so; what was under way is ended on record', async () => {
    const worker = await stack.startHosted();
    const startNow = await stack.takeOverSchedules();
    const talk = await TestConversation.start(api, await stack.tenant('5'));
    await talk.say('Hello.');
    stack.anthropic.knobs.deltaSpacingMs = 20_000;
    const turnId = await talk.post('Talk.');
    await until('it talks', () => stack.anthropic.calls().inFlight > 0);
    await stack.temporal.workflow.getHandle(talk.workflowId).terminate('by an operator');
    expect(await talk.call('POST', '/messages', { message: 'Hello?' })).toMatchObject({
      status: 409,
      body: { error: 'conversation_ended' },
    });
    await stack.admin.query(`UPDATE copilot_internal.runs SET seen_at = seen_at - interval '5 minutes'`);
    await startNow('lookAfter');
    expect(await talk.ended(turnId)).toBe('cancelled');
    expect((await talk.turns()).map(({ status }) => status)).toEqual(['completed', 'cancelled', 'cancelled']);
    expect(await talk.show()).toMatchObject({ status: 'failed', failure: { code: 'run_lost' } });
    await worker.stop();
  });

  test('whose workers are all away stores a message, and answers it when they are back', async () => {
    const worker = await stack.startHosted();
    const talk = await TestConversation.start(api, await stack.tenant('5'));
    await talk.say('Hello.');
    await worker.stop();
    const headers = { 'idempotency-key': randomUUID() };
    const answer = await talk.call('POST', '/messages', { message: 'Anybody?' }, headers);
    expect(answer).toMatchObject({ status: 503, body: { error: 'unavailable' } });
    expect(answer.body.message).toMatch(/no worker is there for it.* The message is stored/);
    const back = await stack.startHosted();
    const again = await talk.call('POST', '/messages', { message: 'Anybody?' }, headers);
    expect(again.status).toBe(202);
    expect(await talk.ended(String(again.body.turnId))).toBe('completed');
    expect(await talk.turns()).toHaveLength(2);
    await talk.close();
    await back.stop();
  });
});
