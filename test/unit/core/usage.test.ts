import { checkUsage, MAX_COUNT, promptTokens, UsageError, usageOf } from '../../../core/prices/usage';
import { mergeStreamUsage, usageFromAnthropic } from '../../../core/prices/usage-anthropic';

const plain = { input_tokens: 10, output_tokens: 20 };

describe("Anthropic's usage", () => {
  it('is read field by field', () => {
    const usage = usageFromAnthropic({
      input_tokens: 100,
      output_tokens: 50,
      cache_read_input_tokens: 2000,
      cache_creation_input_tokens: 700,
      cache_creation: { ephemeral_5m_input_tokens: 400, ephemeral_1h_input_tokens: 300 },
      output_tokens_details: { thinking_tokens: 30 },
      server_tool_use: { web_search_requests: 3, web_fetch_requests: 9 },
      service_tier: 'batch',
      speed: 'fast',
      inference_geo: 'us',
    });
    expect(usage).toEqual({
      inputTokens: 100,
      outputTokens: 50,
      cacheReadTokens: 2000,
      cacheWrite5mTokens: 400,
      cacheWrite1hTokens: 300,
      webSearchRequests: 3,
      compactions: [],
      modifiers: { serviceTier: 'batch', speed: 'fast', inferenceGeo: 'us' },
    });
    expect(promptTokens(usage)).toBe(2800);
  });

  it('may leave out or null everything but input and output', () => {
    const expected = usageOf({ inputTokens: 10, outputTokens: 20 });
    expect(usageFromAnthropic(plain)).toEqual(expected);
    expect(
      usageFromAnthropic({
        ...plain,
        cache_creation: null,
        cache_creation_input_tokens: null,
        cache_read_input_tokens: null,
        server_tool_use: null,
        service_tier: null,
        speed: null,
        inference_geo: null,
        iterations: null,
      }),
    ).toEqual(expected);
  });

  it('of zero is zero', () => {
    expect(usageFromAnthropic({ input_tokens: 0, output_tokens: 0 })).toEqual(usageOf());
  });

  it.each([
    ['only a total: five minutes', { cache_creation_input_tokens: 7 }, 7, 0],
    ['only lifetimes', { cache_creation: { ephemeral_5m_input_tokens: 3, ephemeral_1h_input_tokens: 4 } }, 3, 4],
    [
      'both, which agree',
      {
        cache_creation_input_tokens: 7,
        cache_creation: { ephemeral_5m_input_tokens: 3, ephemeral_1h_input_tokens: 4 },
      },
      3,
      4,
    ],
    [
      'a total that outgrew a split of one hour',
      {
        cache_creation_input_tokens: 9,
        cache_creation: { ephemeral_5m_input_tokens: 3, ephemeral_1h_input_tokens: 4 },
      },
      3,
      6,
    ],
    [
      'a total that outgrew a split of five minutes',
      {
        cache_creation_input_tokens: 9,
        cache_creation: { ephemeral_5m_input_tokens: 3, ephemeral_1h_input_tokens: null },
      },
      9,
      0,
    ],
    ['nothing', {}, 0, 0],
  ])('counts cache writes once, given %s', (_given, writes, fiveMinutes, oneHour) => {
    expect(usageFromAnthropic({ ...plain, ...writes })).toMatchObject({
      cacheWrite5mTokens: fiveMinutes,
      cacheWrite1hTokens: oneHour,
    });
  });

  it('is refused when its cache writes contradict each other', () => {
    const raw = { ...plain, cache_creation_input_tokens: 5, cache_creation: { ephemeral_5m_input_tokens: 6 } };
    expect(() => usageFromAnthropic(raw)).toThrow(/5 cache write tokens in total but 6 for five minutes/);
  });

  it.each([-1, 1.5, Number.NaN, Infinity, MAX_COUNT + 1, '10', true, {}])('is refused with %p as a count', (count) => {
    for (const raw of [
      { ...plain, input_tokens: count },
      { ...plain, output_tokens: count },
      { ...plain, cache_read_input_tokens: count },
      { ...plain, cache_creation_input_tokens: count },
      { ...plain, cache_creation: { ephemeral_1h_input_tokens: count } },
      { ...plain, server_tool_use: { web_search_requests: count } },
      { ...plain, iterations: [{ type: 'compaction', input_tokens: count, output_tokens: 1 }] },
    ]) {
      expect(() => usageFromAnthropic(raw)).toThrow(UsageError);
    }
  });

  it.each([
    [undefined],
    [null],
    ['usage'],
    [[]],
    [{}],
    [{ input_tokens: 1 }],
    [{ output_tokens: 1, input_tokens: null }],
  ])('is refused as %p, which does not say what was used', (raw) => {
    expect(() => usageFromAnthropic(raw)).toThrow(UsageError);
  });

  it('says which count is wrong and what happens to the call', () => {
    expect(() => usageFromAnthropic({ ...plain, output_tokens: -5 })).toThrow(
      /usage\.output_tokens is -5.*settled at its estimate/,
    );
  });

  it('takes what is standard as no modifier, and keeps what it does not know', () => {
    const modifiers = (raw: object): unknown => usageFromAnthropic({ ...plain, ...raw }).modifiers;
    expect(modifiers({ service_tier: 'standard', speed: 'standard', inference_geo: 'global' })).toEqual({});
    expect(modifiers({ inference_geo: 'not_available' })).toEqual({});
    expect(modifiers({ service_tier: 'priority', inference_geo: 'mars', speed: 7 })).toEqual({
      serviceTier: 'priority',
      inferenceGeo: 'mars',
      speed: '7',
    });
  });

  it('adds a compaction inside the call, and its messages not a second time', () => {
    const usage = usageFromAnthropic({
      ...plain,
      iterations: [
        {
          type: 'compaction',
          input_tokens: 5000,
          output_tokens: 300,
          cache_read_input_tokens: 40,
          cache_creation: null,
        },
        { type: 'message', input_tokens: 10, output_tokens: 20 },
      ],
    });
    expect(usage).toEqual(
      usageOf({
        inputTokens: 10,
        outputTokens: 20,
        compactions: [
          { inputTokens: 5000, outputTokens: 300, cacheReadTokens: 40, cacheWrite5mTokens: 0, cacheWrite1hTokens: 0 },
        ],
      }),
    );
  });

  it.each(['advisor_message', 'fallback_message', undefined])('is refused with an iteration of type %p', (type) => {
    const iterations = [{ type, input_tokens: 1, output_tokens: 1 }];
    expect(() => usageFromAnthropic({ ...plain, iterations })).toThrow(/another model/);
  });
});

describe('usage in a stream', () => {
  const start = {
    input_tokens: 25,
    output_tokens: 1,
    cache_creation_input_tokens: 100,
    cache_read_input_tokens: 8,
    cache_creation: { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: 100 },
    service_tier: 'standard',
    inference_geo: 'us',
  };

  it('is what the last event said, not the sum', () => {
    const events: unknown[] = [
      start,
      { output_tokens: 15 },
      { output_tokens: 40, input_tokens: 25 },
      { output_tokens: 41 },
    ];
    let merged: ReturnType<typeof mergeStreamUsage> | undefined;
    for (const event of events) merged = mergeStreamUsage(merged, event);
    expect(usageFromAnthropic(merged)).toEqual(
      usageOf({
        inputTokens: 25,
        outputTokens: 41,
        cacheReadTokens: 8,
        cacheWrite1hTokens: 100,
        modifiers: { inferenceGeo: 'us' },
      }),
    );
  });

  it('keeps what a later event nulls or leaves out', () => {
    const merged = mergeStreamUsage(start, {
      output_tokens: 9,
      input_tokens: null,
      cache_read_input_tokens: undefined,
    });
    expect(usageFromAnthropic(merged)).toMatchObject({ inputTokens: 25, cacheReadTokens: 8, outputTokens: 9 });
  });

  it('takes over growing input, cache and search counts of a server-side tool loop', () => {
    const merged = mergeStreamUsage(start, {
      input_tokens: 900,
      output_tokens: 60,
      cache_creation_input_tokens: 150,
      cache_read_input_tokens: 500,
      server_tool_use: { web_search_requests: 2 },
    });
    expect(usageFromAnthropic(merged)).toMatchObject({
      inputTokens: 900,
      cacheReadTokens: 500,
      cacheWrite5mTokens: 0,
      cacheWrite1hTokens: 150,
      webSearchRequests: 2,
    });
  });

  it('does not change what was merged before', () => {
    const before = mergeStreamUsage(undefined, start);
    mergeStreamUsage(before, { output_tokens: 99 });
    expect(before.output_tokens).toBe(1);
  });

  it('stays as it was when an event has none, and is refused when it is none', () => {
    expect(mergeStreamUsage(start, undefined)).toEqual(start);
    expect(() => mergeStreamUsage(start, 'none')).toThrow(UsageError);
  });
});

describe('usage that was stored', () => {
  it('is checked count by count, compactions included', () => {
    expect(() => checkUsage(usageOf({ inputTokens: 5 }))).not.toThrow();
    expect(() => checkUsage(usageOf({ cacheWrite1hTokens: -1 }))).toThrow(/cacheWrite1hTokens is -1/);
    expect(() => checkUsage(usageOf({ compactions: [usageOf({ outputTokens: 0.5 })] }))).toThrow(UsageError);
  });
});
