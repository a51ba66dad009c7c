/** What is asked of a provider's caches, and what they saved. */
import { priceCall } from '../../../core/prices/price-call';
import { cacheTtlFor } from '../../../core/prices/prompt-cache';
import { modelPriceFromRow, type ModelPrice } from '../../../core/prices/prices';
import { usageOf, type ModelUsage } from '../../../core/prices/usage';

/** $3 a million, read at $0.30, written at $3.75 and $6. */
const price = (changed: Partial<Record<string, unknown>> = {}): ModelPrice =>
  modelPriceFromRow({
    price_version: 'anthropic/claude-of-a-test@2026-01-04',
    provider: 'anthropic',
    model: 'claude-of-a-test',
    effective_from: '2026-01-04T00:00:00Z',
    input_usd_per_mtok: '3',
    output_usd_per_mtok: '15',
    cache_read_usd_per_mtok: '0.3',
    cache_write_5m_usd_per_mtok: '3.75',
    cache_write_1h_usd_per_mtok: '6',
    long_context_threshold_tokens: 200_000,
    long_context_input_usd_per_mtok: '6',
    long_context_output_usd_per_mtok: '22.5',
    long_context_cache_read_usd_per_mtok: '0.6',
    long_context_cache_write_5m_usd_per_mtok: '7.5',
    long_context_cache_write_1h_usd_per_mtok: '12',
    web_search_usd_per_thousand: null,
    multipliers: { inferenceGeo: { us: '1.1' } },
    notes: '',
    source: 'a test',
    source_date: '2026-01-04',
    ...changed,
  });

const saved = (counts: Partial<ModelUsage>): string | undefined => {
  const priced = priceCall(() => usageOf(counts), { price: price(), prices: [], at: 0 });
  return priced.usage?.cacheSavedUsd;
};

test.each<[what: string, counts: Partial<ModelUsage>, expected: string | undefined]>([
  ['reading a million', { cacheReadTokens: 1_000_000 - 900_000, inputTokens: 10 }, '0.27'],
  ['writing for five minutes, which nobody reads', { cacheWrite5mTokens: 100_000 }, '-0.075'],
  ['writing for an hour', { cacheWrite1hTokens: 100_000 }, '-0.3'],
  ['both', { cacheReadTokens: 100_000, cacheWrite5mTokens: 40_000 }, '0.24'],
  ['reading a long context, at its rates', { cacheReadTokens: 300_000 }, '1.62'],
  ['reading in a region', { cacheReadTokens: 100_000, modifiers: { inferenceGeo: 'us' } }, '0.297'],
  ['a request inside the call', { compactions: [usageOf({ cacheReadTokens: 100_000 })] }, '0.27'],
  ['no cache', { inputTokens: 100_000, outputTokens: 5 }, undefined],
])('what caches saved: %s', (_, counts, expected) => {
  expect(saved(counts)).toBe(expected);
});

test('only a provider that wants marks is asked, for what has a price, a long context included', () => {
  expect(cacheTtlFor(price(), '5m')).toBe('5m');
  expect(cacheTtlFor(price(), '1h')).toBe('1h');
  expect(cacheTtlFor(price(), 'off')).toBeUndefined();
  expect(cacheTtlFor(price({ provider: 'openai' }), '5m')).toBeUndefined();
  expect(cacheTtlFor(price({ cache_write_1h_usd_per_mtok: null }), '1h')).toBeUndefined();
  expect(cacheTtlFor(price({ cache_write_1h_usd_per_mtok: null }), '5m')).toBe('5m');
  expect(cacheTtlFor(price({ cache_read_usd_per_mtok: null }), '5m')).toBeUndefined();
  expect(cacheTtlFor(price({ long_context_cache_write_5m_usd_per_mtok: null }), '5m')).toBeUndefined();
});
