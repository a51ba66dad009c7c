/** OpenAI's regional addresses: what a call to one is held for, and what it is written down at. */
import { openAiProvider } from '../../../activities/llm/openai';
import { planCall } from '../../../activities/llm/plan-call';
import { formatUsd } from '../../../core/money';
import { priceCall } from '../../../core/prices/price-call';
import { modelPriceFromRow, type ModelPrice } from '../../../core/prices/prices';

/** $2 and $10 a million, reads of a cache at $0.20, writes at $2.50; twice that above 272,000 tokens of prompt. */
const priceOf = (model: string, multipliers: unknown = {}): ModelPrice =>
  modelPriceFromRow({
    price_version: `openai/${model}@2026-01-04`,
    provider: 'openai',
    model,
    effective_from: '2026-01-04T00:00:00Z',
    input_usd_per_mtok: '2',
    output_usd_per_mtok: '10',
    cache_read_usd_per_mtok: '0.2',
    cache_write_5m_usd_per_mtok: '2.5',
    cache_write_1h_usd_per_mtok: null,
    long_context_threshold_tokens: 272_000,
    long_context_input_usd_per_mtok: '4',
    long_context_output_usd_per_mtok: '20',
    long_context_cache_read_usd_per_mtok: '0.4',
    long_context_cache_write_5m_usd_per_mtok: '5',
    long_context_cache_write_1h_usd_per_mtok: null,
    web_search_usd_per_thousand: '10',
    multipliers,
    notes: '',
    source: 'a test',
    source_date: '2026-01-04',
  });

const usage = {
  usage: {
    input_tokens: 10_000,
    input_tokens_details: { cached_tokens: 2_000, cache_write_tokens: 5_000 },
    output_tokens: 1_000,
    output_tokens_details: { reasoning_tokens: 600 },
    total_tokens: 11_000,
  },
  service_tier: 'default',
  output: [{ type: 'web_search_call', action: { type: 'search' } }],
};

/** Of a model at an address: what is asked for before a call, and what is written after it. */
async function costs(model: string, baseURL?: string, price = priceOf(model)): Promise<[string, string]> {
  const openai = openAiProvider({ apiKey: 'none', baseURL });
  const market = {
    providers: { openai },
    prices: () => Promise.resolve({ models: [price], sandboxes: [] }),
  };
  const { amountUsd } = await planCall(market, { model, maxOutputTokens: 1_000, prompt: 10_000, caching: 'off' });
  const reply = { usage, usageIsFinal: true, outputBegan: true };
  const priced = priceCall(() => openai.usageOf(reply, price), { price, prices: [price], at: Date.now() });
  return [amountUsd, priced.isPriced ? formatUsd(priced.costUsd) : priced.reason];
}

describe('a call to OpenAI', () => {
  // 3,000 × 2 + 2,000 × 0.2 + 5,000 × 2.5 + 1,000 × 10 in micro-dollars, and a search at a cent; held for 10,000 × 2.5 + 1,000 × 10.
  const standard = ['0.035', '0.0389'];
  // A tenth more for the tokens, and nothing for the search.
  const regional = ['0.0385', '0.04179'];

  test.each(['gpt-5.4', 'gpt-5.4-mini', 'gpt-5.5', 'gpt-5.6-terra', 'gpt-6-sol', 'gpt-6.1-luna', 'gpt-99'])(
    'of %s costs a tenth more at a regional address, before and after it',
    async (model) => {
      for (const region of ['eu', 'us', 'au', 'in', 'jp', 'ae'])
        expect(await costs(model, `https://${region}.api.openai.com/v1`)).toEqual(regional);
      expect(await costs(model)).toEqual(standard);
      expect(await costs(model, 'https://api.openai.com/v1')).toEqual(standard);
      expect(await costs(model, 'https://eu.api.openai.com.example.org/v1')).toEqual(standard);
    },
  );

  test.each([
    'gpt-3.5-turbo',
    'gpt-4o-2024-08-06',
    'gpt-4.1-nano',
    'o3',
    'o4-mini',
    'gpt-5',
    'gpt-5-mini',
    'gpt-5.2-pro',
  ])('of %s, from before regions cost more, costs the same everywhere', async (model) => {
    expect(await costs(model, 'https://eu.api.openai.com/v1')).toEqual(standard);
  });

  test('takes the factor that its price has, where it has one', async () => {
    const price = priceOf('gpt-99', { inferenceGeo: { regional: '1.2' } });
    expect(await costs('gpt-99', 'https://eu.api.openai.com/v1', price)).toEqual(['0.042', '0.04468']);
  });

  test('of another provider has no such factor', () => {
    const price = { ...priceOf('gpt-99'), provider: 'anthropic' };
    const read = {
      ...openAiProvider({ apiKey: 'none', baseURL: 'https://eu.api.openai.com/v1' }).usageOf(
        { usage, usageIsFinal: true, outputBegan: true },
        price,
      ),
    };
    expect(priceCall(() => read, { price, prices: [price], at: Date.now() }).isPriced).toBe(false);
  });
});
