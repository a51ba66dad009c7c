/** When a bound of a prompt is enough, and when its provider is asked to count: only where the count could change something. */
import { anthropicProvider } from '../../../activities/llm/anthropic';
import type { ModelProvider, Prompt } from '../../../activities/llm/model-provider';
import { planCall, tokensForPartial, type Bound, type Market } from '../../../activities/llm/plan-call';
import { parseUsd } from '../../../core/money';
import { modelPriceFromRow, type ModelPrice } from '../../../core/prices/prices';
import type { PromptCaching } from '../../../core/prices/prompt-cache';
import { startAnthropicStandIn, type AnthropicStandIn } from '../../../scripts/stand-ins';

const model = 'claude-of-a-test';
/** $1 and $5 a million; above 20,000 tokens of prompt twice that. */
const price = modelPriceFromRow({
  price_version: `anthropic/${model}@2026-01-04`,
  provider: 'anthropic',
  model,
  effective_from: '2026-01-04T00:00:00Z',
  input_usd_per_mtok: '1',
  output_usd_per_mtok: '5',
  cache_read_usd_per_mtok: null,
  cache_write_5m_usd_per_mtok: null,
  cache_write_1h_usd_per_mtok: null,
  long_context_threshold_tokens: 20_000,
  long_context_input_usd_per_mtok: '2',
  long_context_output_usd_per_mtok: '10',
  long_context_cache_read_usd_per_mtok: null,
  long_context_cache_write_5m_usd_per_mtok: null,
  long_context_cache_write_1h_usd_per_mtok: null,
  web_search_usd_per_thousand: null,
  multipliers: {},
  notes: '',
  source: 'a test',
  source_date: '2026-01-04',
});
const saying = (chars: number): Prompt => ({
  system: 'Help.',
  tools: [],
  messages: [{ role: 'user', content: [{ type: 'text', text: 'word '.repeat(chars / 5) }] }],
});

describe('a call', () => {
  let standIn: AnthropicStandIn;
  let market: Market;
  beforeAll(async () => {
    standIn = await startAnthropicStandIn();
    const anthropic = anthropicProvider({ apiKey: 'stand-in', baseURL: standIn.url });
    market = { providers: { anthropic }, prices: () => Promise.resolve({ models: [price], sandboxes: [] }) };
  });
  afterAll(() => standIn.stop());
  const plan = async (prompt: Prompt, bound?: Bound, maxOutputTokens = 4_000) => {
    const before = standIn.calls().countTokens;
    const planned = await planCall(market, { model, maxOutputTokens, prompt, bound, caching: '5m' });
    return { ...planned, counts: standIn.calls().countTokens - before };
  };

  // Of 8,000 characters the bound is some 8,200 tokens, and $0.0282 with the answer; the count is some 2,100, and $0.0221.
  const cases: [what: string, bound: Bound | undefined, counts: number][] = [
    ['is bounded where nothing limits it', {}, 0],
    ['is bounded where the tightest quota holds it ten times over', { quotaUsd: parseUsd('0.29') }, 0],
    ['is counted near the end of a quota', { quotaUsd: parseUsd('0.27') }, 1],
    ['is counted when a quota is overdrawn', { quotaUsd: parseUsd('0.1') - parseUsd('0.2') }, 1],
    ['is bounded within the run’s own limit', { leftUsd: parseUsd('0.029') }, 0],
    ['is counted when the bound is beyond the run’s own limit', { leftUsd: parseUsd('0.028') }, 1],
    ['is bounded below the size at which a context is compacted', { tokensMax: 8_500 }, 0],
    ['is counted when the bound is above it', { tokensMax: 8_000 }, 1],
    ['is counted when it is asked for', undefined, 1],
  ];
  test.each(cases)('%s', async (_, bound, counts) => {
    const planned = await plan(saying(8_000), bound);
    expect(planned.counts).toBe(counts);
    expect(planned.isBound).toBe(counts === 0 ? true : undefined);
    if (counts === 0) expect(planned.inputTokens).toBeGreaterThan(8_000);
    else expect(planned.inputTokens).toBeLessThan(2_300);
  });

  test('is counted when only the bound is long enough for a dearer rate', async () => {
    expect(await plan(saying(30_000), {})).toMatchObject({
      counts: 1,
      amountUsd: expect.stringMatching(/^0\.02/) as string,
    });
    expect(await plan(saying(15_000), {})).toMatchObject({ counts: 0 });
  });

  test('is counted when the bound of its prompt costs more than the longest answer, but not where it is short', async () => {
    const base = { messages: 1, tokens: 15_000, fingerprint: '' };
    expect(await plan(saying(10_000), {}, 2_100)).toMatchObject({ counts: 0 });
    expect(await plan(saying(10_000), {}, 1_900)).toMatchObject({ counts: 1 });
    expect(await plan(saying(10_000), { base }, 1_900)).toMatchObject({ counts: 1 });
    expect(await plan(saying(7_000), {}, 1)).toMatchObject({ counts: 0 });
  });

  test('is priced anew for as many tokens as were counted before, and not counted again', async () => {
    const { inputTokens } = await plan(saying(8_000));
    const before = standIn.calls().countTokens;
    const again = await planCall(market, { model, maxOutputTokens: 1_000, prompt: inputTokens, caching: '5m' });
    expect(again.inputTokens).toBe(inputTokens);
    expect(standIn.calls().countTokens).toBe(before);
  });

  test('that was bounded is counted when it is granted in part, so that its answer loses nothing to the bound', async () => {
    const prompt = saying(8_000);
    const provider = market.providers.anthropic as NonNullable<(typeof market.providers)['anthropic']>;
    const bounded = await plan(prompt, {});
    expect(await tokensForPartial(provider, bounded, prompt)).toBeLessThan(2_300);
    const counted = await plan(prompt);
    expect(await tokensForPartial(provider, counted, prompt)).toBe(counted.inputTokens);
    const away = anthropicProvider({ apiKey: 'stand-in', baseURL: 'http://127.0.0.1:1' });
    expect(await tokensForPartial(away, bounded, prompt)).toBe(bounded.inputTokens);
  });

  test.each([
    ['nothing', undefined],
    ['a zero', 0],
    ['less', -7],
    ['a part', 0.5],
    ['a text', '12'],
    ['far too much', 1e15],
  ])('whose count is %s is bounded, for an answer of any length', async (_, answered) => {
    const prompt = saying(8_000);
    const wrong = {
      ...(market.providers.anthropic as ModelProvider),
      countTokens: () => Promise.resolve(answered as number),
    };
    const call = {
      model,
      maxOutputTokens: 4_000,
      prompt,
      bound: { quotaUsd: parseUsd('0.1') },
      caching: '5m',
    } as const;
    const bounded = await plan(prompt, {});
    const { counts: _counts, ...expected } = bounded;
    expect(await planCall({ ...market, providers: { anthropic: wrong } }, call)).toEqual(expected);
    expect(await tokensForPartial(wrong, bounded, prompt)).toBe(bounded.inputTokens);
  });

  test('whose provider cannot count it is counted again, and bounded once that was tried often enough', async () => {
    standIn.knobs.failCountsWith = 529;
    const call = { model, maxOutputTokens: 4_000, prompt: saying(8_000), caching: '5m' } as const;
    await expect(planCall(market, call)).rejects.toThrow('could not be counted: provider_unavailable');
    expect(await planCall(market, { ...call, countsAgain: false })).toMatchObject({ isBound: true });
    const [message] = call.prompt.messages;
    const file = { type: 'file', name: 'x.png', mediaType: 'image/png', data: 'AAAA' } as const;
    const shown = {
      ...call.prompt,
      messages: [{ role: 'user' as const, content: [file, ...(message?.content ?? [])] }],
    };
    await expect(planCall(market, { ...call, prompt: shown, countsAgain: false })).rejects.toMatchObject({
      type: 'provider_unavailable',
      nonRetryable: true,
    });
    standIn.knobs.failCountsWith = undefined;
  });

  test('that can be cached is reserved at the price of that, but where only what is left stands in its way', async () => {
    const cached: ModelPrice = {
      ...price,
      longContext: undefined,
      rates: { ...price.rates, cacheReadUsd: parseUsd('0.1'), cacheWrite5mUsd: parseUsd('1.25') },
    };
    const priced = { ...market, prices: () => Promise.resolve({ models: [cached], sandboxes: [] }) };
    const planned = (roomUsd?: string, caching: PromptCaching = '5m') =>
      planCall(priced, {
        ...{ model, maxOutputTokens: 1_000, prompt: 10_000, caching },
        ...(roomUsd === undefined ? {} : { roomUsd: parseUsd(roomUsd) }),
      });
    expect(await planned()).toMatchObject({ amountUsd: '0.0175', cacheWriteTtl: '5m' });
    expect(await planned('0.0175')).toMatchObject({ amountUsd: '0.0175', cacheWriteTtl: '5m' });
    const plain = { amountUsd: '0.015' };
    // Less than the whole call, which its answer is kept short for in any case: it stays marked down to the least of it.
    for (const room of ['0.0149', '0.01378']) expect(await planned(room)).toMatchObject({ cacheWriteTtl: '5m' });
    for (const one of [
      await planned('0.0174'),
      await planned('0.015'),
      await planned('0.01377'),
      await planned(undefined, 'off'),
      await planned(undefined, '1h'),
    ]) {
      expect(one).toMatchObject(plain);
      expect(one).not.toHaveProperty('cacheWriteTtl');
    }
  });
});
