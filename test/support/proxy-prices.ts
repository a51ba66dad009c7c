/** Prices for tests of what a call can cost at most. */
import { modelPriceFromRow, type ModelPrice } from '../../core/prices/prices';

/** $1 and $5 a million tokens, with the factors that are given. */
export const priceOfTest = (
  provider: string,
  model: string,
  factors: Partial<Record<'inferenceGeo' | 'serviceTier' | 'speed', Record<string, string>>> = {},
): ModelPrice =>
  modelPriceFromRow({
    price_version: `${provider}/${model}@2026-01-04`,
    provider,
    model,
    effective_from: '2026-01-04T00:00:00Z',
    input_usd_per_mtok: '1',
    output_usd_per_mtok: '5',
    cache_read_usd_per_mtok: '0.1',
    cache_write_5m_usd_per_mtok: '1.25',
    cache_write_1h_usd_per_mtok: '2',
    long_context_threshold_tokens: null,
    long_context_input_usd_per_mtok: null,
    long_context_output_usd_per_mtok: null,
    long_context_cache_read_usd_per_mtok: null,
    long_context_cache_write_5m_usd_per_mtok: null,
    long_context_cache_write_1h_usd_per_mtok: null,
    web_search_usd_per_thousand: '10',
    multipliers: { inferenceGeo: {}, serviceTier: {}, speed: {}, ...factors },
    notes: '',
    source: 'a test',
    source_date: '2026-01-04',
  });
