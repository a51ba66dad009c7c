/** Streams of events: told of each as it is written, and asking by themselves rarely but for while nobody would tell them (XB9). */
import { RunWatchers, type RunLooks } from '../../api/runs/run-watchers';
import { asTenant, type Pool } from '../../store/pool';
import { appendRunEvent } from '../../store/runs';
import { startTestApi, type TestApi } from '../support/api';
import { longWords, parseEvents, TestConversation } from '../support/conversations';
import { OwnTools, weatherCall } from '../support/own-tools';
import { TestStack, until } from '../support/stack';
import { ToolAddresses } from '../support/tool-servers';

const minutes = 600_000;
/** From an event's beginning until it is read, on a machine with other work; without that it is some 20 ms. */
const soonMs = 5_000;

interface Seen {
  event: string;
  /** From when it was written; of what has no moment there is none. */
  lateMs?: number;
}

/** A stream that is read as it comes. */
class Reader {
  readonly seen: Seen[] = [];
  private readonly leaving = new AbortController();

  /** As the administration, which has to name the tenant. */
  static async open({ url, adminKey }: TestApi, path: string): Promise<Reader> {
    const reader = new Reader();
    const headers = { authorization: `Bearer ${adminKey}` };
    const response = await fetch(`${url}${path}`, { headers, signal: reader.leaving.signal });
    void reader.read(response).catch(() => undefined);
    return reader;
  }

  get events(): string[] {
    return this.seen.map(({ event }) => event);
  }

  /** The longest that one took which was written since it was opened. */
  get latestMs(): number {
    return Math.max(...this.seen.map(({ lateMs = 0 }) => lateMs));
  }

  until(event: string): Promise<unknown> {
    return until(`${event} is told`, () => this.events.includes(event));
  }

  close(): void {
    this.leaving.abort();
  }

  private async read({ body }: Response): Promise<void> {
    const openedMs = Date.now();
    let text = '';
    const decoder = new TextDecoder();
    for await (const piece of body ?? []) {
      text += decoder.decode(piece as Uint8Array, { stream: true });
      const blocks = text.split('\n\n');
      text = blocks.pop() ?? '';
      for (const { event, data } of parseEvents(blocks.join('\n\n'))) {
        const { at } = data as { at?: string };
        const writtenMs = at === undefined ? 0 : Date.parse(at);
        this.seen.push(writtenMs > openedMs ? { event, lateMs: Date.now() - writtenMs } : { event });
      }
    }
  }
}

let stack: TestStack;
let addresses: ToolAddresses;
beforeAll(async () => {
  stack = await TestStack.start();
  addresses = await ToolAddresses.start();
});
afterAll(async () => {
  await addresses.close();
  await stack.stop();
});

const openTalk = (api: TestApi, { id, tenantId }: TestConversation): Promise<Reader> =>
  Reader.open(api, `/v1/conversations/${id}/events?tenantId=${tenantId}`);
const openRun = (api: TestApi, { runId, tenantId }: { runId: string; tenantId: string }): Promise<Reader> =>
  Reader.open(api, `/v1/runs/${runId}/events?tenantId=${tenantId}`);

describe('a stream that looks by itself after minutes only', () => {
  let api: TestApi;
  beforeAll(async () => {
    api = await startTestApi(stack, { runLooks: { toldMs: minutes, untoldMs: minutes } });
  });
  afterAll(() => api.close());

  test('is told of a turn, its pieces, its questions and its program as they come', async () => {
    const tools = [{ name: 'run_code', requiresApproval: true }];
    const talk = await TestConversation.start(api, await stack.tenant('5'), { tools });
    const reader = await openTalk(api, talk);
    stack.anthropic.knobs.replies = [{ text: 'May I?', code: 'console.log(6 * 7)' }, { text: 'It is 42.' }];
    await talk.post('Compute.');
    await reader.until('approval.requested');
    const { body } = await api.call('GET', `/v1/approvals?runId=${talk.id}`, { key: talk.key });
    const [{ approvalId = '' } = {}] = body.approvals as { approvalId: string }[];
    await api.call('POST', `/v1/approvals/${approvalId}`, { key: talk.key, body: { decision: 'approve' } });
    await reader.until('turn.ended');
    await talk.close();
    await reader.until('done');
    for (const event of ['turn.started', 'delta', 'model.replied', 'approval.decided', 'code.executed', 'run.ended'])
      expect(reader.events).toContain(event);
    expect(reader.latestMs).toBeLessThan(soonMs);
  });

  test('is told of a summary', async () => {
    const talk = await TestConversation.nearlyFull(api, stack, await stack.tenant('5'));
    const reader = await openTalk(api, talk);
    stack.anthropic.knobs.replies = [{ text: 'In short.' }, { text: 'Four.' }];
    await talk.post(`four? ${longWords}`);
    await reader.until('context.compacted');
    expect(reader.latestMs).toBeLessThan(soonMs);
    reader.close();
  });

  test('is told that a run waits for money and has it, asks people and is answered, and knows its money', async () => {
    const tenantId = await stack.tenant('0.001');
    const waiting = { tenantId, ...(await stack.start({ tenantId, onDenied: 'wait' })) };
    const waits = await openRun(api, waiting);
    await waits.until('money.waiting');
    const more = { resourceType: 'all', period: 'month', amountUsd: '5', reason: 'x', author: 'Jo' } as const;
    for (const resourceType of ['all', 'llm'] as const)
      await api.admin.budget.topUp(tenantId, { scope: 'tenant', ...more, resourceType });
    await waits.until('done');
    const poor = await stack.tenant('0.001');
    const asking = { tenantId: poor, ...(await stack.start({ tenantId: poor, onDenied: 'ask' })) };
    const asks = await openRun(api, asking);
    await asks.until('money.asked');
    const { requests } = await api.admin.moneyRequests.list({ tenantId: poor });
    for (const { requestId } of requests)
      await api.admin.moneyRequests.grant(requestId, { tenantId: poor, amountUsd: '1', author: 'Jo' });
    await asks.until('done');
    const limited = { tenantId, ...(await stack.start({ tenantId, limits: { maxCostUsd: '1', lastCall: true } })) };
    const knows = await openRun(api, limited);
    await knows.until('done');
    expect(waits.events).toContain('money.waited');
    expect(asks.events).toContain('money.answered');
    expect(knows.events).toContain('budget.told');
    for (const { latestMs } of [waits, asks, knows]) expect(latestMs).toBeLessThan(soonMs);
  });

  test("is told of a tool of its tenant's own", async () => {
    const tenantId = await stack.tenant('5');
    expect((await new OwnTools({ stack, api }).add(tenantId, `${addresses.url}/weather`)).status).toBe(201);
    stack.anthropic.knobs.replies = [{ text: '', tools: [weatherCall] }, { text: 'Done.' }];
    const run = { tenantId, ...(await stack.start({ tenantId, tools: [{ name: 'weather' }] })) };
    const reader = await openRun(api, run);
    await reader.until('done');
    expect(reader.events).toContain('tool.called');
    expect(reader.latestMs).toBeLessThan(soonMs);
  });

  /** When streams last asked Postgres for anything. */
  const lastAsked = async (): Promise<unknown> => {
    const { rows } = await stack.admin.query<{ at: unknown }>(
      `SELECT max(query_start)::text AS at FROM pg_stat_activity
       WHERE datname = current_database() AND application_name = 'spendlock-streams'`,
    );
    return rows[0]?.at;
  };

  test('asks nothing while nothing is new; each event alone is told, and what nobody heard of once it is heard again', async () => {
    const talk = await TestConversation.start(api, await stack.tenant('5'));
    const reader = await openTalk(api, talk);
    await reader.until('run.started');
    const append = (key: string): Promise<void> =>
      asTenant(stack.pool, talk.tenantId, (client) =>
        appendRunEvent(client, talk.id, { key, type: 'budget.told', data: { text: key } }),
      );
    const told = (): number => reader.events.filter((event) => event === 'budget.told').length;
    for (const count of [1, 2, 3]) {
      await append(`alone-${count}`);
      await until('it is told', () => told() === count);
    }
    expect(reader.latestMs).toBeLessThan(soonMs);
    const asked = await lastAsked();
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    expect(await lastAsked()).toEqual(asked);
    await stack.admin.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE datname = current_database() AND application_name = 'spendlock-listener spendlock_replies'`,
    );
    await append('unheard');
    await until('it is told', () => told() === 4);
    expect(reader.latestMs).toBeLessThan(soonMs);
    reader.close();
    await talk.close();
  });
});

describe('who watches', () => {
  const never = new AbortController().signal;
  /** Milliseconds until a watch of a conversation hears of something that a process of the version before, which tells nobody, has written. */
  const heardAfter = async (pool: Pool, looks: RunLooks): Promise<number> => {
    const api = await startTestApi(stack);
    const watchers = new RunWatchers(pool, looks);
    try {
      const talk = await TestConversation.start(api, await stack.tenant('5'));
      const watch = watchers.watch({ tenantId: talk.tenantId, runId: talk.id });
      // It begins with a look, as its listener is there, and with what was before it.
      await watch.next(minutes, never);
      await watch.next(1_000, never);
      await stack.admin.query('SELECT copilot_internal.append_run_event($1, $2, $3, $4)', [
        talk.id,
        ...['untold', 'budget.told', '{}'],
      ]);
      const startedMs = performance.now();
      await watch.next(10_000, never);
      watch.end();
      return performance.now() - startedMs;
    } finally {
      await watchers.close();
      await api.close();
    }
  };

  test('finds what it was not told of by a look', async () => {
    expect(await heardAfter(stack.pool, { toldMs: 300, untoldMs: minutes })).toBeLessThan(3_000);
  });

  test('looks as often as it is to while its listener has no connection', async () => {
    const nowhere = { ...stack.pool.options, connectionString: 'postgres://127.0.0.1:1/nowhere' };
    const deaf = Object.assign(Object.create(stack.pool) as Pool, { options: nowhere });
    expect(await heardAfter(deaf, { toldMs: minutes, untoldMs: 300 })).toBeLessThan(3_000);
  });
});
