/** Conversations that live long: their history is continued as new, nothing is lost, and it stays small. */
import { randomUUID } from 'node:crypto';
import { promptTokens, type ModelUsage } from '../../core/prices/usage';
import type { TestApi } from '../support/api';
import { TestConversation } from '../support/conversations';
import { withInstallation } from '../support/installation';
import type { TestStack } from '../support/stack';

describe('a conversation that lives long', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  /** The executions of a conversation, with the bytes and events of each history. */
  async function chain(workflowId: string): Promise<{ bytes: number; events: number }[]> {
    const executions = [];
    for (let runId: string | undefined; ;) {
      const handle = stack.temporal.workflow.getHandle(workflowId, runId);
      const { raw, historyLength } = await handle.describe();
      const { historySizeBytes } = raw.workflowExecutionInfo ?? {};
      executions.unshift({ bytes: Number(historySizeBytes), events: historyLength });
      // From the last execution back to the first: each one's history names the one before.
      const history = await handle.fetchHistory();
      const started = history.events?.[0]?.workflowExecutionStartedEventAttributes;
      runId = started?.continuedExecutionRunId ?? undefined;
      if (!runId) return executions;
    }
  }

  test('of 200,000 tokens over 100 calls stays under 1 MB of history, summed over its executions (F16)', async () => {
    const tenantId = await stack.tenant('50');
    const talk = await TestConversation.start(api, tenantId, { compaction: { enabled: false } });
    const words = 'the quick brown fox jumps over the lazy dog and runs away '.repeat(138);
    for (let call = 1; call <= 100; call += 1) {
      stack.anthropic.knobs.replies = [{ text: `answer ${call}` }];
      const turnId = await talk.post(`${call}: ${words}`);
      expect(await talk.ended(turnId)).toBe('completed');
    }
    const { body } = await api.call('GET', `/v1/cost-records?conversationId=${talk.id}&limit=1000`, { key: talk.key });
    const last = (body.records as { usage: ModelUsage }[]).at(-1);
    expect(promptTokens(last?.usage as ModelUsage)).toBeGreaterThan(200_000);
    const executions = await chain(talk.workflowId);
    const bytes = executions.reduce((sum, execution) => sum + execution.bytes, 0);
    console.log(
      `history of 100 calls: ${bytes} bytes in ${executions.length} executions, ${Math.round(bytes / 100)} a call`,
    );
    expect(bytes).toBeLessThan(1_000_000);
    await talk.close();
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
  });

  test('continues as new in the middle of a turn under traffic, and loses nothing', async () => {
    const tenantId = await stack.tenant('50');
    const talk = await TestConversation.start(api, tenantId, {
      limits: { maxSteps: 150 },
      compaction: { enabled: false },
    });
    const calls = 110;
    stack.anthropic.knobs.replies = [
      ...Array.from({ length: calls }, (_, index) => ({ text: '', code: `console.log(${index})` })),
      { text: 'counted' },
    ];
    const long = await talk.post('Count.');
    const meanwhile = [];
    for (let index = 0; index < 20; index += 1) {
      meanwhile.push(await talk.post(`message ${index} ${randomUUID()}`));
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    expect(await talk.ended(long, 180_000)).toBe('completed');
    for (const turnId of meanwhile) expect(await talk.ended(turnId)).toBe('completed');
    expect((await chain(talk.workflowId)).length).toBeGreaterThan(1);
    const turns = await talk.turns();
    expect(turns.map(({ status }) => status)).toEqual(Array.from({ length: 21 }, () => 'completed'));
    const said = (await talk.call('GET', '/messages?limit=500')).body.messages as {
      content: { type: string; content?: string }[];
    }[];
    const printed = said.flatMap(({ content }) => content.flatMap((block) => block.content ?? []));
    expect(printed).toEqual(Array.from({ length: calls }, (_, index) => `${index}\n`));
    await talk.close();
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
    expect(stack.e2b.calls().alive).toEqual([]);
  });
});
