/** Prompts are cached: what a long conversation costs by it, and what leaves the caches cold. */
import { parseUsd, type Usd } from '../../core/money';
import type { ModelUsage } from '../../core/prices/usage';
import type { TestApi } from '../support/api';
import { TestConversation } from '../support/conversations';
import { withInstallation } from '../support/installation';
import { until, type TestStack } from '../support/stack';

/** About so many tokens, none like those of another number. */
const words = (tokens: number, of: number | string): string =>
  `${of} `.repeat(Math.ceil((tokens * 4) / (`${of}`.length + 1)));

describe('a conversation whose prompts are cached', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  const models = { anthropic: 'claude-sonnet-5', openai: 'gpt-5.1', google: 'gemini-2.5-flash' } as const;
  type Provider = keyof typeof models;

  let conversations = 0;
  const begin = async (provider: Provider, body: Record<string, unknown> = {}): Promise<TestConversation> =>
    TestConversation.start(api, await stack.tenant('50'), {
      model: models[provider],
      // With the agent's own and its tools some 4,000 tokens; an account's caches serve whoever's prompts begin alike.
      instructions: words(3_400, `rule${++conversations}`),
      limits: { maxOutputTokens: 1_000 },
      ...body,
    });
  const turns = async (talk: TestConversation, provider: Provider, from: number, to: number): Promise<void> => {
    for (let turn = from; turn <= to; turn += 1) {
      stack[provider].knobs.replies = [{ text: words(300, `a${turn}`) }];
      expect(await talk.ended(await talk.post(words(600, `q${turn}`)))).toBe('completed');
    }
  };
  const recordsOf = async (talk: TestConversation) => {
    const { body } = await api.call('GET', `/v1/cost-records?conversationId=${talk.id}&limit=100`, { key: talk.key });
    return body.records as { kind: string; amountUsd: string; estimatedUsd: string; usage: ModelUsage }[];
  };
  const usd = (amount: unknown): Usd => parseUsd(String(amount));

  test.each(Object.keys(models) as Provider[])(
    '%s: thirty turns cost at most 0.35 of what they would without, and never more than was held for each',
    async (provider) => {
      const talk = await begin(provider);
      await turns(talk, provider, 1, 30);
      const { body: view } = await talk.call('GET', '');
      const [cost, saved] = [usd(view.costUsd), usd(view.cacheSavedUsd)];
      const share = Number((cost * 1_000n) / (cost + saved)) / 1_000;
      console.log(`thirty turns with ${models[provider]} cost ${share} of the same without caches`);
      expect(share).toBeLessThan(0.35);
      const records = await recordsOf(talk);
      expect(records).toHaveLength(30);
      for (const { amountUsd, estimatedUsd } of records) expect(usd(amountUsd)).toBeLessThanOrEqual(usd(estimatedUsd));
      const { body: usage } = await api.call('GET', '/v1/usage?groupBy=day', { key: talk.key });
      expect(usage.lines).toMatchObject([{ costUsd: view.costUsd, cacheSavedUsd: view.cacheSavedUsd }]);
      expect(await stack.books(talk.tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
    },
    120_000,
  );

  test('costs more without: the same conversation with promptCaching off', async () => {
    const [cached, plain] = [await begin('anthropic'), await begin('anthropic', { promptCaching: 'off' })];
    await turns(cached, 'anthropic', 1, 4);
    await turns(plain, 'anthropic', 1, 4);
    const [{ body: less }, { body: more }] = [await cached.call('GET', ''), await plain.call('GET', '')];
    expect(more.cacheSavedUsd).toBe('0');
    expect(usd(less.costUsd)).toBeLessThan(usd(more.costUsd));
    // What it says to have saved is what the other one cost more, but for the ids that count as tokens.
    const difference = Number(usd(more.costUsd) - usd(less.costUsd) - usd(less.cacheSavedUsd)) / 1e12;
    expect(Math.abs(difference)).toBeLessThan(0.001);
  });

  test('after a pause beyond their time, caches are written anew; those of an hour are read', async () => {
    const [short, long] = [await begin('anthropic'), await begin('anthropic', { promptCaching: '1h' })];
    await turns(short, 'anthropic', 1, 2);
    await turns(long, 'anthropic', 1, 2);
    stack.anthropic.knobs.clockAheadMs = 1_200_000;
    await turns(short, 'anthropic', 3, 3);
    await turns(long, 'anthropic', 3, 3);
    stack.anthropic.knobs.clockAheadMs = 0;
    const last = async (talk: TestConversation) => (await recordsOf(talk)).at(-1)?.usage;
    expect(await last(short)).toMatchObject({ cacheReadTokens: 0 });
    expect((await last(short))?.cacheWrite5mTokens).toBeGreaterThan(5_000);
    expect((await last(long))?.cacheReadTokens).toBeGreaterThan(4_500);
    expect((await last(long))?.cacheWrite1hTokens).toBeLessThan(1_500);
  });

  test('a compaction leaves instructions and tools in the cache, and what came before it out', async () => {
    const talk = await begin('anthropic', { compaction: { contextTokens: 10_000, atShare: 0.8 } });
    await turns(talk, 'anthropic', 1, 3);
    stack.anthropic.knobs.replies = [{ text: 'A summary of it.' }, { text: 'And on.' }];
    expect(await talk.ended(await talk.post(words(2_600, 'q4')))).toBe('completed');
    const records = await recordsOf(talk);
    expect(records.map(({ kind, usage }) => [kind, usage.cacheReadTokens > 0])).toEqual([
      ['llm.call', false],
      ['llm.call', true],
      ['llm.call', true],
      ['compaction', false],
      ['llm.call', true],
    ]);
    const { cacheReadTokens } = records.at(-1)?.usage as ModelUsage;
    expect(cacheReadTokens).toBeGreaterThan(3_400);
    expect(cacheReadTokens).toBeLessThan(4_600);
  });

  test('a task without tools asks for no cache, since nothing goes on from its prompt', async () => {
    const tenantId = await stack.tenant('50');
    const key = await api.keyOf(tenantId);
    const instructions = words(3_000, 'rule');
    const body = { task: 'Say hello.', model: models.anthropic, instructions, tools: [] };
    const { body: started } = await api.call('POST', '/v1/runs', { key, body });
    const view = await until('the run is over', async () => {
      const { body: run } = await api.call('GET', `/v1/runs/${String(started.runId)}`, { key });
      return run.status === 'running' ? undefined : run;
    });
    expect(view).toMatchObject({ status: 'completed', cacheSavedUsd: '0' });
    const { system } = stack.anthropic.lastRequest() as { system: unknown };
    expect(typeof system).toBe('string');
  });
});
