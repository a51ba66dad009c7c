/** Prompts are cached: what a long conversation costs by it, and what leaves the caches cold. */
import { usd as inWords } from '../../cli/output';
import { parseUsd, type Usd } from '../../core/money';
import type { ModelUsage } from '../../core/prices/usage';
import type { TestApi } from '../support/api';
import { spendlock } from '../support/cli';
import { TestConversation } from '../support/conversations';
import { endedRun } from '../support/http-runs';
import { withInstallation } from '../support/installation';
import type { TestStack } from '../support/stack';

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
    return body.records as {
      kind: string;
      model: string;
      amountUsd: string;
      estimatedUsd: string;
      usage: ModelUsage;
    }[];
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

  test('what was saved, or spent so far, is told by the command line', async () => {
    const talk = await begin('anthropic');
    const shown = async (...words: string[]): Promise<string> => (await spendlock(api, ...words)).out;
    const savedUsd = async (): Promise<string> => String((await talk.call('GET', '')).body.cacheSavedUsd);
    await turns(talk, 'anthropic', 1, 1);
    const spent = /^-(.*)$/.exec(await savedUsd())?.[1] ?? 'nothing';
    expect(await shown('runs', 'show', talk.tenantId, talk.id)).toContain(
      `, ${inWords(spent)} spent on caches so far\n`,
    );
    await turns(talk, 'anthropic', 2, 4);
    const saved = await savedUsd();
    expect(Number(saved)).toBeGreaterThan(0);
    expect(await shown('runs', 'show', talk.tenantId, talk.id)).toContain(`, ${inWords(saved)} saved by caches\n`);
    for (const words of [
      ['conversations', 'show', talk.tenantId, talk.id],
      ['usage', 'show', talk.tenantId],
    ]) {
      const table = await shown(...words);
      expect(table).toContain('saved by caches');
      expect(table).toContain(inWords(saved));
    }
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

  /** US dollars a million tokens of the models above. */
  const rates = {
    anthropic: { input: 2, output: 10, read: 0.2, written: 2.5 },
    openai: { input: 1.25, output: 10, read: 0.125, written: 1.25 },
  };

  test.each([
    ['anthropic', 'openai'],
    ['openai', 'anthropic'],
  ] as const)(
    'a turn that goes from %s to %s is marked, held and billed as the other one caches',
    async (own, other) => {
      const talk = await begin(own, { fallbackModels: [models[other]] });
      await turns(talk, own, 1, 2);
      const isAway = [503, 503].map((status) => ({ type: 'status', status }) as const);
      for (const turn of [3, 4]) {
        stack[own].knobs.failNext = [...isAway];
        await turns(talk, other, turn, turn);
      }
      const asked = JSON.stringify(stack[other].lastRequest());
      expect(asked.includes('"cache_control"')).toBe(other === 'anthropic');
      expect(asked.includes(`"prompt_cache_key":"${talk.id}"`)).toBe(other === 'openai');
      await turns(talk, own, 5, 5);
      const records = await recordsOf(talk);
      expect(records.map(({ model }) => model)).toEqual(
        [own, own, other, other, own].map((provider) => models[provider]),
      );
      // The other one has nothing of it at first, and its own prompt of before at the fifth turn: that of the second.
      expect(records.map(({ usage }) => usage.cacheReadTokens > 3_000)).toEqual([false, true, false, true, true]);
      for (const { model, usage, amountUsd, estimatedUsd } of records) {
        const { input, output, read, written } = rates[model === models.openai ? 'openai' : 'anthropic'];
        const { inputTokens, outputTokens, cacheReadTokens, cacheWrite5mTokens, cacheSavedUsd = '0' } = usage;
        const of = (tokens: number, rate: number): number => (tokens * rate) / 1_000_000;
        const cost =
          of(inputTokens, input) +
          of(outputTokens, output) +
          of(cacheReadTokens, read) +
          of(cacheWrite5mTokens, written);
        expect(Number(amountUsd)).toBeCloseTo(cost, 9);
        const saved = of(cacheReadTokens, input - read) - of(cacheWrite5mTokens, written - input);
        expect(Number(cacheSavedUsd)).toBeCloseTo(saved, 9);
        // Held was what the longest answer would cost with all of its prompt written to a cache that had forgotten it.
        const most = of(inputTokens + cacheReadTokens + cacheWrite5mTokens, written) + of(1_000, output);
        expect(Number(estimatedUsd)).toBeGreaterThanOrEqual(most);
      }
      const { body: view } = await talk.call('GET', '');
      expect(Number(view.cacheSavedUsd)).toBeCloseTo(
        records.reduce((sum, { usage }) => sum + Number(usage.cacheSavedUsd ?? '0'), 0),
        9,
      );
      expect(await stack.books(talk.tenantId)).toMatchObject({ reservedUsd: '0', openReservations: 0 });
    },
  );

  test('a turn of more blocks than a mark looks back over is read from the cache in the next call', async () => {
    const talk = await begin('anthropic');
    const writes = Array.from({ length: 11 }, (_, at) => ({
      name: 'write_file',
      input: { path: `/home/user/${at}.txt`, content: `${at}` },
    }));
    stack.anthropic.knobs.replies = [{ text: 'I keep them.', tools: writes }, { text: 'Kept.' }];
    expect(await talk.ended(await talk.post(`Keep eleven notes. ${words(600, 'q1')}`))).toBe('completed');
    const { messages } = stack.anthropic.lastRequest() as { messages: { content: unknown[] }[] };
    expect(messages.slice(-2).flatMap(({ content }) => content)).toHaveLength(23);
    await turns(talk, 'anthropic', 2, 2);
    const [first, second, third] = (await recordsOf(talk)).map(({ usage }) => usage);
    // Each reads all that the one before has read and written.
    expect(second?.cacheReadTokens).toBe(first?.cacheWrite5mTokens);
    expect(second?.cacheWrite5mTokens).toBeGreaterThan(0);
    expect(third?.cacheReadTokens).toBe((second?.cacheReadTokens ?? 0) + (second?.cacheWrite5mTokens ?? 0));
  });

  test('a task without tools asks for no cache, since nothing goes on from its prompt', async () => {
    const instructions = words(3_000, 'rule');
    const body = { task: 'Say hello.', model: models.anthropic, instructions, tools: [] };
    const { run } = await endedRun({ stack, api }, body);
    expect(run).toMatchObject({ status: 'completed', cacheSavedUsd: '0' });
    const { system } = stack.anthropic.lastRequest() as { system: unknown };
    expect(typeof system).toBe('string');
  });
});
