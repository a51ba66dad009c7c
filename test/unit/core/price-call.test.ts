import { formatUsd } from '../../../core/money';
import { priceCall } from '../../../core/prices/price-call';
import { modelPriceFromRow, type ModelPriceRow } from '../../../core/prices/prices';
import { costOfUsage } from '../../../core/prices/pricing';
import { usageOf, UsageError, type ModelUsage } from '../../../core/prices/usage';

const row = (model: string, rates: [string, string, string, string], rest: Partial<ModelPriceRow> = {}) =>
  modelPriceFromRow({
    price_version: `anthropic/${model}@2026-06-09`,
    provider: 'anthropic',
    model,
    effective_from: '2026-06-09T00:00:00Z',
    input_usd_per_mtok: rates[0],
    output_usd_per_mtok: rates[1],
    cache_read_usd_per_mtok: rates[2],
    cache_write_5m_usd_per_mtok: rates[3],
    cache_write_1h_usd_per_mtok: null,
    long_context_threshold_tokens: null,
    long_context_input_usd_per_mtok: null,
    long_context_output_usd_per_mtok: null,
    long_context_cache_read_usd_per_mtok: null,
    long_context_cache_write_5m_usd_per_mtok: null,
    long_context_cache_write_1h_usd_per_mtok: null,
    web_search_usd_per_thousand: '10',
    multipliers: { inferenceGeo: { us: '1.1' } },
    notes: '',
    source: 'a test',
    source_date: '2026-06-09',
    ...rest,
  });
const fable = row('claude-fable-5', ['10', '50', '1', '12.50']);
const opus = row('claude-opus-4-8', ['5', '25', '0.50', '6.25']);
const at = Date.parse('2026-11-01T00:00:00Z');
const priced = (usage: Partial<ModelUsage>, prices = [fable, opus]) =>
  priceCall(() => usageOf(usage), { price: fable, prices, at });

const declined = { inputTokens: 2, outputTokens: 578, cacheWrite5mTokens: 10_421, cacheReadTokens: 72_769 };
const served = {
  model: 'claude-opus-4-8',
  inputTokens: 2,
  outputTokens: 13_658,
  cacheReadTokens: 79_214,
  cacheWrite5mTokens: 0,
  cacheWrite1hTokens: 0,
};

describe('the price of a call that was made', () => {
  it('takes what another model served at that model’s price (XD3)', () => {
    const call = priced({ ...declined, otherModels: [served] });
    expect(call).toMatchObject({ isPriced: true, costUsd: 613_018_500_000n });
  });

  it('says what another model without a price leaves unknown, and what is known', () => {
    const call = priced({ ...declined, otherModels: [served] }, [fable]);
    expect(call).toMatchObject({ isPriced: false, code: 'unpriced_usage', knownUsd: 231_951_500_000n });
    expect(call).toMatchObject({ reason: expect.stringContaining('"claude-opus-4-8", which served a part') as string });
    expect(call.usage).toMatchObject(declined);
  });

  it('never takes a price of another provider, nor one that does not hold yet', () => {
    const later = { ...opus, effectiveFromMs: at + 1 };
    const elsewhere = { ...opus, provider: 'openai' };
    expect(priced({ otherModels: [served] }, [fable, later, elsewhere])).toMatchObject({
      isPriced: false,
      knownUsd: 0n,
    });
  });

  it('applies the factors of the call to every model, and refuses without a factor', () => {
    const us = { modifiers: { inferenceGeo: 'us' }, otherModels: [served], inputTokens: 100 };
    // 100 × 10 × 1.1 and (2 × 5 + 13,658 × 25 + 79,214 × 0.5) × 1.1, in micro-dollars.
    expect(priced(us)).toMatchObject({ isPriced: true, costUsd: 1_100_000_000n + 419_173_700_000n });
    expect(priced({ inputTokens: 100, webSearchRequests: 3, modifiers: { serviceTier: 'priority' } })).toMatchObject({
      isPriced: false,
      reason: expect.stringContaining('serviceTier "priority"') as string,
      // Tokens at an unknown factor are not known; searches have none.
      knownUsd: 30_000_000_000n,
    });
  });

  it('answers a report that cannot be read, with what is known of it', () => {
    const failing = (known?: ModelUsage) =>
      priceCall(
        () => {
          throw new UsageError('It contradicts itself.', known);
        },
        { price: fable, prices: [fable], at },
      );
    expect(failing()).toEqual({
      isPriced: false,
      code: 'invalid_usage',
      reason: 'It contradicts itself.',
      knownUsd: 0n,
    });
    expect(failing(usageOf({ outputTokens: 10 }))).toMatchObject({
      knownUsd: 500_000_000n,
      usage: { outputTokens: 10 },
    });
    expect(() =>
      priceCall(
        () => {
          throw new TypeError('a mistake of ours');
        },
        { price: fable, prices: [], at },
      ),
    ).toThrow(TypeError);
  });

  it('refuses paid tools that no price list knows', () => {
    const call = priced({ inputTokens: 1, otherTools: { file_search: 2 } });
    expect(call).toMatchObject({
      isPriced: false,
      reason: expect.stringContaining('tool file_search') as string,
      knownUsd: 10_000_000n,
    });
    const heard = priced({ inputTokens: 1, otherTools: { audio_input: 2 } });
    expect(heard).toMatchObject({ isPriced: false, reason: expect.stringContaining('audio input tokens') as string });
    expect(priced({ inputTokens: 1, otherTools: { file_search: 0 } })).toMatchObject({ isPriced: true });
    expect(() => costOfUsage(fable, usageOf({ otherTools: { file_search: 2 } }))).toThrow(/tool file_search/);
  });

  it('of usage of zero is zero (F7)', () => {
    const call = priced({});
    expect(call.isPriced && formatUsd(call.costUsd)).toBe('0');
  });
});
