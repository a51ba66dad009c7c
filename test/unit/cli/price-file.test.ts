import { changesBetween, mergePrice } from '../../../cli/price-changes';
import { PriceFileError, readPriceFile, type PriceFile } from '../../../cli/price-file';

const read = (entries: Record<string, unknown>): PriceFile => readPriceFile(JSON.stringify(entries));
const plain = {
  litellm_provider: 'openai',
  mode: 'chat',
  input_cost_per_token: 1.25e-6,
  output_cost_per_token: 1e-5,
};
const only = (entry: object): PriceFile => read({ m: { ...plain, ...entry } });

describe('a public price file', () => {
  it('gives every rate exactly as it was written, per million tokens', () => {
    const file = read({
      sample_spec: { litellm_provider: 'one of', mode: 'one of' },
      'claude-x': {
        litellm_provider: 'anthropic',
        mode: 'chat',
        input_cost_per_token: 3e-6,
        output_cost_per_token: 0.000015,
        cache_read_input_token_cost: 3e-7,
        cache_creation_input_token_cost: 3.75e-6,
        cache_creation_input_token_cost_above_1hr: 6e-6,
        input_cost_per_token_above_200k_tokens: 6e-6,
        output_cost_per_token_above_200k_tokens: 2.25e-5,
        cache_read_input_token_cost_above_200k_tokens: 6e-7,
        cache_creation_input_token_cost_above_1hr_above_200k_tokens: 1.2e-5,
        input_cost_per_token_batches: 1.5e-6,
        output_cost_per_token_batches: 7.5e-6,
        search_context_cost_per_query: {
          search_context_size_low: 0.01,
          search_context_size_medium: 0.01,
          search_context_size_high: 0.01,
        },
        provider_specific_entry: { us: 1.1, fast: 6 },
        source: 'https://example.com/prices',
      },
      'gemini/g': { ...plain, litellm_provider: 'gemini' },
      'an-image': { ...plain, mode: 'image_generation' },
    });
    expect(file).toEqual({
      prices: [
        {
          provider: 'anthropic',
          model: 'claude-x',
          inputUsd: '3',
          outputUsd: '15',
          cacheReadUsd: '0.3',
          cacheWrite5mUsd: '3.75',
          cacheWrite1hUsd: '6',
          longContext: {
            thresholdTokens: 200_000,
            inputUsd: '6',
            outputUsd: '22.5',
            cacheReadUsd: '0.6',
            cacheWrite1hUsd: '12',
          },
          webSearchPerThousandUsd: '10',
          multipliers: { serviceTier: { batch: '0.5' }, speed: { fast: '6' }, inferenceGeo: { us: '1.1' } },
          source: 'https://example.com/prices',
        },
        { provider: 'google', model: 'g', inputUsd: '1.25', outputUsd: '10' },
      ],
      leftOut: [],
      otherEntries: 2,
    });
  });

  it.each([
    ['free', { input_cost_per_token: 0, output_cost_per_token: 0 }, { inputUsd: '0', outputUsd: '0' }],
    ['the finest', { input_cost_per_token: 1e-12 }, { inputUsd: '0.000001' }],
    ['a whole dollar a token', { output_cost_per_token: 0.5 }, { outputUsd: '500000' }],
  ])('takes %s', (_name, entry, expected) => {
    expect(only(entry).prices).toEqual([expect.objectContaining(expected)]);
  });

  it.each([
    ['an infinite rate', { input_cost_per_token: '1e999' }, /no rate/],
    ['a negative rate', { input_cost_per_token: -1e-6 }, /no rate/],
    ['a rate that would be rounded', { input_cost_per_token: 1.23456789e-6 }, /finer/],
    ['an absurd rate', { input_cost_per_token: 12 }, /absurdly large/],
    ['no output rate', { output_cost_per_token: undefined }, /no rate for input or for output/],
    ['thinking at a rate of its own', { output_cost_per_reasoning_token: 2e-5 }, /thinking/],
    ['tiers', { tiered_pricing: [] }, /tiers/],
    [
      'two thresholds',
      { input_cost_per_token_above_128k_tokens: 1e-6, input_cost_per_token_above_200k_tokens: 1e-6 },
      /threshold/,
    ],
    ['half a long-context price', { input_cost_per_token_above_200k_tokens: 1e-6 }, /no rate for output/],
  ])('leaves out %s, with the reason', (_name, entry, reason) => {
    const file = only(entry);
    expect(file.prices).toEqual([]);
    expect(file.leftOut).toEqual([{ model: 'm', reason: expect.stringMatching(reason) as string }]);
  });

  it('states no factor that does not hold for every rate', () => {
    const half = { input_cost_per_token_flex: 6.25e-7 };
    expect(only({ ...half, output_cost_per_token_flex: 5e-6 }).prices[0]?.multipliers).toEqual({
      serviceTier: { flex: '0.5' },
    });
    expect(only({ ...half, output_cost_per_token_flex: 6e-6 }).prices[0]?.multipliers).toBeUndefined();
    expect(only({ input_cost_per_token_flex: 1e-6 / 3, output_cost_per_token_flex: 1e-5 }).leftOut).toHaveLength(1);
  });

  it.each([['no JSON at all'], ['[]'], ['{"a": {"price": 1}}']])('refuses %s', (text) => {
    expect(() => readPriceFile(text)).toThrow(PriceFileError);
  });
});

describe('a new version', () => {
  const current = {
    provider: 'anthropic',
    model: 'm',
    inputUsd: '3',
    outputUsd: '15',
    cacheReadUsd: '0.3',
    multipliers: { serviceTier: { batch: '0.5' } },
    source: 's',
    sourceDate: '2026-01-01',
  };

  it('keeps what is not named, and lists what changes', () => {
    const next = mergePrice(current, {
      provider: 'anthropic',
      model: 'm',
      inputUsd: '2',
      multipliers: { speed: { fast: '2' } },
    });
    expect(next).toMatchObject({
      outputUsd: '15',
      cacheReadUsd: '0.3',
      multipliers: { serviceTier: { batch: '0.5' }, speed: { fast: '2' } },
    });
    expect(changesBetween(current, next)).toEqual([
      { model: 'm', what: 'input', before: '$3', after: '$2' },
      { model: 'm', what: 'speed fast', before: null, after: '×2' },
    ]);
    expect(changesBetween(current, current)).toEqual([]);
  });
});
