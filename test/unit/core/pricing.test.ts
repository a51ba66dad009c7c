import fc from 'fast-check';
import { formatUsd, parseUsd } from '../../../core/money';
import {
  findModelPrice,
  modelPriceFromRow,
  PriceError,
  UnpricedModelError,
  type ModelPrice,
  type ModelPriceRow,
} from '../../../core/prices/prices';
import {
  costOfUsage,
  estimateModelCall,
  maxOutputTokensFor,
  UnpricedUsageError,
  type PlannedCall,
} from '../../../core/prices/pricing';
import {
  costOfSandbox,
  estimateSandbox,
  findSandboxPrice,
  sandboxPriceFromRow,
  UnpricedSandboxError,
  type SandboxPriceRow,
} from '../../../core/prices/sandbox-prices';
import { MAX_COUNT, promptTokens, usageOf, UsageError, type ModelUsage } from '../../../core/prices/usage';

const row: ModelPriceRow = {
  price_version: 'anthropic/model-a@2026-01-04',
  provider: 'anthropic',
  model: 'model-a',
  effective_from: '2026-01-04T00:00:00Z',
  input_usd_per_mtok: '3.000000',
  output_usd_per_mtok: '15',
  cache_read_usd_per_mtok: '0.30',
  cache_write_5m_usd_per_mtok: '3.75',
  cache_write_1h_usd_per_mtok: '6',
  long_context_threshold_tokens: 200_000,
  long_context_input_usd_per_mtok: '6',
  long_context_output_usd_per_mtok: '22.50',
  long_context_cache_read_usd_per_mtok: '0.60',
  long_context_cache_write_5m_usd_per_mtok: '7.50',
  long_context_cache_write_1h_usd_per_mtok: '12',
  web_search_usd_per_thousand: '10',
  multipliers: { serviceTier: { batch: '0.5' }, speed: { fast: '2' }, inferenceGeo: { us: '1.1' } },
  notes: '',
  source: 'a test',
  source_date: '2026-01-04',
};
const price = modelPriceFromRow(row);
const plainRow: ModelPriceRow = {
  ...row,
  price_version: 'openai/model-b@2026-01-04',
  provider: 'openai',
  model: 'model-b',
  cache_write_1h_usd_per_mtok: null,
  long_context_threshold_tokens: null,
  long_context_input_usd_per_mtok: null,
  long_context_output_usd_per_mtok: null,
  long_context_cache_read_usd_per_mtok: null,
  long_context_cache_write_5m_usd_per_mtok: null,
  long_context_cache_write_1h_usd_per_mtok: null,
  web_search_usd_per_thousand: null,
  multipliers: {},
};
const costUsd = (of: ModelPrice, usage: Partial<ModelUsage>): string =>
  formatUsd(costOfUsage(of, usageOf(usage)).costUsd);

describe('what a model call cost', () => {
  it.each<[string, Partial<ModelUsage>, string]>([
    ['one input token', { inputTokens: 1 }, '0.000003'],
    ['a million output tokens', { outputTokens: 1_000_000 }, '15'],
    ['cache reads', { cacheReadTokens: 12_345 }, '0.0037035'],
    ['five-minute cache writes', { cacheWrite5mTokens: 1000 }, '0.00375'],
    ['one-hour cache writes', { cacheWrite1hTokens: 1000 }, '0.006'],
    ['web searches', { webSearchRequests: 3 }, '0.03'],
    // 1234 × 3 + 567 × 15 + 10000 × 0.30 + 2000 × 3.75 + 3000 × 6 = 3702 + 8505 + 3000 + 7500 + 18000 = 40707 millionths
    [
      'all of them together',
      {
        inputTokens: 1234,
        outputTokens: 567,
        cacheReadTokens: 10_000,
        cacheWrite5mTokens: 2000,
        cacheWrite1hTokens: 3000,
        webSearchRequests: 1,
      },
      '0.050707',
    ],
  ])('is exact for %s', (_name, usage, expected) => {
    expect(costUsd(price, usage)).toBe(expected);
  });

  it('is zero for a usage of zero', () => {
    expect(costOfUsage(price, usageOf())).toEqual({ costUsd: 0n, lines: [] });
  });

  it('is the sum of its lines, each with its own rate', () => {
    const cost = costOfUsage(price, usageOf({ inputTokens: 10, cacheWrite1hTokens: 10, outputTokens: 2 }));
    expect(cost.lines).toEqual([
      { kind: 'input', quantity: 10, rateUsd: parseUsd('3'), amountUsd: parseUsd('0.00003') },
      { kind: 'cache_write_1h', quantity: 10, rateUsd: parseUsd('6'), amountUsd: parseUsd('0.00006') },
      { kind: 'output', quantity: 2, rateUsd: parseUsd('15'), amountUsd: parseUsd('0.00003') },
    ]);
    expect(cost.costUsd).toBe(parseUsd('0.00012'));
  });

  it('stays at the base rates up to the long-context threshold and is higher for the whole request above it', () => {
    expect(costUsd(price, { inputTokens: 200_000, outputTokens: 1000 })).toBe('0.615');
    // 200001 × 6 + 1000 × 22.5
    expect(costUsd(price, { inputTokens: 200_001, outputTokens: 1000 })).toBe('1.222506');
  });

  it('counts cached tokens towards the threshold, but not output', () => {
    // 100000 × 6 + 60000 × 0.60 + 30000 × 7.50 + 10001 × 12
    const cached = {
      inputTokens: 100_000,
      cacheReadTokens: 60_000,
      cacheWrite5mTokens: 30_000,
      cacheWrite1hTokens: 10_001,
    };
    expect(costUsd(price, cached)).toBe('0.981012');
    expect(costUsd(price, { inputTokens: 1, outputTokens: 300_000 })).toBe('4.500003');
  });

  it('takes the factor of each modifier, on tokens and not on searches', () => {
    const usage = { inputTokens: 1000, outputTokens: 100, webSearchRequests: 1 };
    expect(costUsd(price, { ...usage, modifiers: { serviceTier: 'batch' } })).toBe('0.01225');
    expect(costUsd(price, { ...usage, modifiers: { inferenceGeo: 'us' } })).toBe('0.01495');
    expect(costUsd(price, { ...usage, modifiers: { speed: 'fast', inferenceGeo: 'us' } })).toBe('0.0199');
  });

  it('rounds each line up to the next pico-dollar where a factor leaves a fraction', () => {
    const fine = modelPriceFromRow({ ...row, input_usd_per_mtok: '0.000001', output_usd_per_mtok: '0.000003' });
    const usage = { inputTokens: 1, outputTokens: 1 };
    expect(costOfUsage(fine, usageOf(usage)).costUsd).toBe(4n);
    // 1.1 and 3.3 pico-dollars
    expect(costOfUsage(fine, usageOf({ ...usage, modifiers: { inferenceGeo: 'us' } })).costUsd).toBe(2n + 4n);
    expect(costOfUsage(fine, usageOf({ inputTokens: 10, modifiers: { inferenceGeo: 'us' } })).costUsd).toBe(11n);
  });

  it.each([{ serviceTier: 'priority' }, { serviceTier: 'toString' }, { speed: 'slow' }, { inferenceGeo: 'eu' }])(
    'is unknown, not guessed, with the modifier %p',
    (modifiers) => {
      expect(() => costOfUsage(price, usageOf({ inputTokens: 1, modifiers }))).toThrow(UnpricedUsageError);
    },
  );

  it('is unknown for a kind of use that the price has no rate for', () => {
    const plain = modelPriceFromRow(plainRow);
    expect(() => costOfUsage(plain, usageOf({ cacheWrite1hTokens: 1 }))).toThrow(
      /openai\/model-b@2026-01-04 has no rate for tokens written to a cache for an hour/,
    );
    expect(() => costOfUsage(plain, usageOf({ webSearchRequests: 1 }))).toThrow(/web searches/);
    expect(costUsd(plain, { inputTokens: 1 })).toBe('0.000003');
  });

  it('bills a compaction inside the call once, as a request of its own', () => {
    const compaction = usageOf({ inputTokens: 150_000, outputTokens: 1000 });
    // 0.45 + 0.015 for the compaction, 0.18 + 0.0015 for the message: together above the threshold, each below it
    expect(costUsd(price, { inputTokens: 60_000, outputTokens: 100, compactions: [compaction] })).toBe('0.6465');
  });

  it.each([-1, Number.NaN, Infinity, 0.5, MAX_COUNT + 1])('is refused for a count of %p', (count) => {
    expect(() => costOfUsage(price, usageOf({ inputTokens: count }))).toThrow(UsageError);
    expect(() => costOfUsage(price, usageOf({ webSearchRequests: count }))).toThrow(UsageError);
  });

  it('of a free model is zero, and that is a price', () => {
    const free = modelPriceFromRow({ ...plainRow, input_usd_per_mtok: '0', output_usd_per_mtok: '0' });
    expect(costOfUsage(free, usageOf({ inputTokens: 5, outputTokens: 5 })).costUsd).toBe(0n);
    expect(maxOutputTokensFor(free, { inputTokens: 0, budgetUsd: 0n })).toBe(MAX_COUNT);
  });
});

describe('what a model call may cost at most', () => {
  it('is input plus the longest output, at list rates', () => {
    expect(formatUsd(estimateModelCall(price, { inputTokens: 1000, maxOutputTokens: 500 }))).toBe('0.0105');
  });

  it('counts every prompt token as a cache write when the request asks for caching', () => {
    const call = { inputTokens: 1000, maxOutputTokens: 0 };
    expect(formatUsd(estimateModelCall(price, { ...call, cacheWriteTtl: '5m' }))).toBe('0.00375');
    expect(formatUsd(estimateModelCall(price, { ...call, cacheWriteTtl: '1h' }))).toBe('0.006');
  });

  it('counts cache writes of a provider that writes without being asked', () => {
    expect(formatUsd(estimateModelCall(modelPriceFromRow(plainRow), { inputTokens: 1000, maxOutputTokens: 0 }))).toBe(
      '0.00375',
    );
  });

  it('rounds up per token where a factor leaves a fraction', () => {
    // 1.1 pico-dollars a token: ten cost 11, and may cost 20 when each has a line of its own
    const fine = modelPriceFromRow({ ...row, input_usd_per_mtok: '0.000001', cache_read_usd_per_mtok: '0' });
    const call = { inputTokens: 10, maxOutputTokens: 0, modifiers: { inferenceGeo: 'us' } };
    expect(estimateModelCall(fine, call)).toBe(20n);
  });

  it('takes the long-context rates once the prompt can cross the threshold', () => {
    expect(formatUsd(estimateModelCall(price, { inputTokens: 200_000, maxOutputTokens: 1000 }))).toBe('0.615');
    expect(formatUsd(estimateModelCall(price, { inputTokens: 200_001, maxOutputTokens: 1000 }))).toBe('1.222506');
  });

  it('includes allowed searches and requested modifiers, and refuses those without a rate', () => {
    const call = { inputTokens: 1000, maxOutputTokens: 0 };
    expect(formatUsd(estimateModelCall(price, { ...call, maxWebSearches: 2 }))).toBe('0.023');
    expect(formatUsd(estimateModelCall(price, { ...call, modifiers: { speed: 'fast' } }))).toBe('0.006');
    expect(() => estimateModelCall(price, { ...call, modifiers: { serviceTier: 'priority' } })).toThrow(
      UnpricedUsageError,
    );
    expect(() => estimateModelCall(modelPriceFromRow(plainRow), { ...call, maxWebSearches: 1 })).toThrow(
      UnpricedUsageError,
    );
  });

  const rate = fc.integer({ min: 0, max: 100_000_000 }).map((millionths) => formatUsd(BigInt(millionths) * 1_000_000n));
  const anyPrice = fc
    .record({
      provider: fc.constantFrom('anthropic', 'openai'),
      input_usd_per_mtok: rate,
      output_usd_per_mtok: rate,
      cache_read_usd_per_mtok: rate,
      cache_write_5m_usd_per_mtok: rate,
      cache_write_1h_usd_per_mtok: rate,
      long_context_threshold_tokens: fc.constantFrom(1, 1000, 200_000),
      long_context_input_usd_per_mtok: rate,
      long_context_output_usd_per_mtok: rate,
      multipliers: fc.record({ inferenceGeo: fc.record({ us: fc.constantFrom('1.1', '0.333333', '3.000001') }) }),
    })
    .map((fields) => modelPriceFromRow({ ...row, ...fields }));
  const anyCall = fc.record({
    inputTokens: fc.oneof(fc.nat(300_000), fc.nat(20)),
    maxOutputTokens: fc.nat(100_000),
    cacheWriteTtl: fc.constantFrom<'5m' | '1h' | undefined>('5m', '1h', undefined),
    modifiers: fc.constantFrom({}, { inferenceGeo: 'us' }),
  });
  const planned = ({
    inputTokens,
    cacheWriteTtl,
    modifiers,
  }: {
    inputTokens: number;
    cacheWriteTtl: '5m' | '1h' | undefined;
    modifiers: object;
  }): PlannedCall => ({
    inputTokens,
    modifiers,
    ...(cacheWriteTtl === undefined ? {} : { cacheWriteTtl }),
  });

  it('is never below the cost of a call that stays within it', () => {
    // Often one kind takes all: then the cost comes closest to the estimate.
    const part = fc.oneof(fc.constant(0), fc.constant(0), fc.nat(100));
    const shares = fc.tuple(part, part, part, part);
    fc.assert(
      fc.property(anyPrice, anyCall, shares, fc.constantFrom(0, 0.5, 1), (of, call, parts, outputShare) => {
        const total = Math.max(
          1,
          parts.reduce((sum, part) => sum + part, 0),
        );
        const share = (part: number): number => Math.floor((call.inputTokens * part) / total);
        const usage = usageOf({
          inputTokens: share(parts[0]),
          cacheReadTokens: share(parts[1]),
          cacheWrite5mTokens: call.cacheWriteTtl === undefined ? 0 : share(parts[2]),
          cacheWrite1hTokens: call.cacheWriteTtl === '1h' ? share(parts[3]) : 0,
          outputTokens: Math.floor(call.maxOutputTokens * outputShare),
          modifiers: call.modifiers,
        });
        expect(promptTokens(usage)).toBeLessThanOrEqual(call.inputTokens);
        const estimateUsd = estimateModelCall(of, { ...planned(call), maxOutputTokens: call.maxOutputTokens });
        expect(costOfUsage(of, usage).costUsd <= estimateUsd).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });

  it('and a budget give the most output that fits: one token more does not', () => {
    fc.assert(
      fc.property(anyPrice, anyCall, fc.bigInt({ min: -5n, max: parseUsd('5') }), (of, call, budgetUsd) => {
        const tokens = maxOutputTokensFor(of, { ...planned(call), budgetUsd });
        const estimate = (maxOutputTokens: number): bigint =>
          estimateModelCall(of, { ...planned(call), maxOutputTokens });
        if (tokens > 0) expect(estimate(tokens) <= budgetUsd).toBe(true);
        if (tokens < MAX_COUNT) expect(estimate(tokens + 1) > budgetUsd).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });

  it('allows no output when the prompt alone is dearer than the budget', () => {
    expect(maxOutputTokensFor(price, { inputTokens: 1000, budgetUsd: parseUsd('0.002999') })).toBe(0);
    expect(maxOutputTokensFor(price, { inputTokens: 1000, budgetUsd: parseUsd('0.003014') })).toBe(0);
    expect(maxOutputTokensFor(price, { inputTokens: 1000, budgetUsd: parseUsd('0.003015') })).toBe(1);
    expect(maxOutputTokensFor(price, { inputTokens: 1000, budgetUsd: parseUsd('0.018') })).toBe(1000);
  });
});

describe('finding a price', () => {
  const later = modelPriceFromRow({
    ...row,
    price_version: 'anthropic/model-a@2026-03-13',
    effective_from: new Date('2026-03-13T00:00:00Z'),
  });
  const prices = [later, price, modelPriceFromRow(plainRow)];
  const find = (model: string, at: string): string =>
    findModelPrice(prices, { model, at: Date.parse(at) }).priceVersion;

  it('takes the latest version that holds at the moment', () => {
    expect(find('model-a', '2026-01-04T00:00:00Z')).toBe('anthropic/model-a@2026-01-04');
    expect(find('model-a', '2026-03-12T23:59:59.999Z')).toBe('anthropic/model-a@2026-01-04');
    expect(find('model-a', '2026-03-13T00:00:00Z')).toBe('anthropic/model-a@2026-03-13');
  });

  it.each(['model', 'model-a-mini', 'model-a@2026-01-04', 'MODEL-A', 'model-a ', ''])(
    'refuses %j, which only resembles a name',
    (model) => {
      expect(() => find(model, '2026-06-01T00:00:00Z')).toThrow(UnpricedModelError);
    },
  );

  it('names the model and says how to add a price', () => {
    expect(() => find('gpt-99', '2026-06-01T00:00:00Z')).toThrow(
      /The model "gpt-99" has no price\. No call was made and nothing was reserved\..*prices set.*docs\/prices\.md/,
    );
    expect(() => find('model-a-mini', '2026-06-01T00:00:00Z')).toThrow(/there is one for model-a, another name/);
    expect(() => find('model-a', '2026-01-03T00:00:00Z')).toThrow(/no price before 2026-01-04T00:00:00.000Z/);
    expect(() => find('gpt-99', '2026-06-01T00:00:00Z')).toThrow(
      expect.objectContaining({ code: 'unpriced_model', model: 'gpt-99' }) as Error,
    );
  });
});

describe('a stored price', () => {
  it.each([
    { input_usd_per_mtok: '-1' },
    { output_usd_per_mtok: 'NaN' },
    { cache_read_usd_per_mtok: '1e-3' },
    { input_usd_per_mtok: '0.0000001' },
    { web_search_usd_per_thousand: '' },
    { effective_from: 'yesterday' },
    { long_context_output_usd_per_mtok: null },
    { long_context_threshold_tokens: 0 },
    { multipliers: { speed: { fast: '0' } } },
    { multipliers: { speed: { fast: '-2' } } },
    { multipliers: { speed: { fast: 'double' } } },
  ])('is refused with %j', (wrong) => {
    expect(() => modelPriceFromRow({ ...row, ...wrong })).toThrow(PriceError);
  });

  it('keeps exact factors in lowest terms', () => {
    expect(price.multipliers).toEqual({
      serviceTier: { batch: { numerator: 1n, denominator: 2n } },
      speed: { fast: { numerator: 2n, denominator: 1n } },
      inferenceGeo: { us: { numerator: 11n, denominator: 10n } },
    });
  });
});

describe('sandboxes', () => {
  const sandboxRow: SandboxPriceRow = {
    price_version: 'e2b/standard@2026-01-04',
    provider: 'e2b',
    tier: 'standard',
    vcpu: 4,
    memory_mib: 8192,
    effective_from: '2026-01-04T00:00:00Z',
    vcpu_second_usd: '0.000014',
    gib_second_usd: '0.0000045',
    notes: '',
    source: 'a test',
  };
  const standard = sandboxPriceFromRow(sandboxRow);
  const small = sandboxPriceFromRow({
    ...sandboxRow,
    price_version: 'e2b/default@2026-01-04',
    tier: 'default',
    vcpu: 2,
    memory_mib: 512,
  });

  it('of the standard tier cost 0.0276 USD for five minutes', () => {
    expect(formatUsd(costOfSandbox(standard, { seconds: 300 }))).toBe('0.0276');
    expect(formatUsd(estimateSandbox(standard, { seconds: 300 }))).toBe('0.0276');
  });

  it.each([
    [0, '0'],
    [1, '0.00003025'],
    [0.001, '0.00003025'],
    [3600, '0.1089'],
  ])('of 2 vCPU and half a GiB cost, for %p seconds, %s USD', (seconds, expected) => {
    expect(formatUsd(costOfSandbox(small, { seconds }))).toBe(expected);
  });

  it('cost the next pico-dollar where memory leaves a fraction', () => {
    // 1 MiB for a second is 4394.53 pico-dollars
    const odd = sandboxPriceFromRow({ ...sandboxRow, vcpu_second_usd: '0', memory_mib: 1 });
    expect(costOfSandbox(odd, { seconds: 1 })).toBe(4395n);
  });

  it.each([-1, Number.NaN, Infinity])('cannot run for %p seconds', (seconds) => {
    expect(() => costOfSandbox(standard, { seconds })).toThrow(RangeError);
  });

  it('are found by tier or by their exact shape', () => {
    const at = Date.parse('2026-06-01T00:00:00Z');
    expect(findSandboxPrice([standard, small], { tier: 'default', at })).toBe(small);
    expect(findSandboxPrice([standard, small], { vcpu: 4, memoryMib: 8192, at })).toBe(standard);
    expect(() => findSandboxPrice([standard, small], { vcpu: 4, memoryMib: 4096, at })).toThrow(
      /no price for a sandbox of 4 vCPU and 4096 MiB.*Priced tiers are standard, default/,
    );
    expect(() => findSandboxPrice([standard], { tier: 'huge', at })).toThrow(UnpricedSandboxError);
    expect(() => findSandboxPrice([standard], { tier: 'standard', at: 0 })).toThrow(UnpricedSandboxError);
  });
});
