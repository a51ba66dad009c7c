/** Reports that contradict themselves, repeat themselves or say more than tokens: what each provider's converter makes of them. */
import { mergeStreamUsage, usageFromAnthropic } from '../../../core/prices/usage-anthropic';
import { groundingFrom, mergeGoogleUsage, usageFromGoogle, type GoogleUsage } from '../../../core/prices/usage-google';
import { usageFromOpenAi } from '../../../core/prices/usage-openai';
import { UsageError, type ModelUsage } from '../../../core/prices/usage';

const failureOf = (read: () => ModelUsage): UsageError => {
  try {
    read();
  } catch (error) {
    if (error instanceof UsageError) return error;
    throw error;
  }
  throw new Error('the usage was read');
};

describe('Anthropic', () => {
  const merge = (...reports: unknown[]): ModelUsage =>
    usageFromAnthropic(
      reports.reduce<ReturnType<typeof mergeStreamUsage> | undefined>(mergeStreamUsage, undefined),
      'claude-fable-5',
    );
  const own = { type: 'message', model: 'claude-fable-5', input_tokens: 10, output_tokens: 20 };
  const fallback = { ...own, type: 'fallback_message', model: 'claude-opus-4-8', output_tokens: 500 };
  const total = { input_tokens: 10, output_tokens: 20 };

  it.each([
    [
      'a zero at the end',
      [
        { input_tokens: 12_000, output_tokens: 1 },
        { input_tokens: 0, output_tokens: 500 },
      ],
    ],
    ['a zero in the middle', [{ input_tokens: 12_000 }, { input_tokens: 0, output_tokens: 0 }, { output_tokens: 500 }]],
    [
      'a repeated report',
      [
        { input_tokens: 12_000, output_tokens: 500 },
        { input_tokens: 12_000, output_tokens: 500 },
      ],
    ],
    [
      'a smaller count',
      [
        { input_tokens: 12_000, output_tokens: 500 },
        { input_tokens: 11_000, output_tokens: 499 },
      ],
    ],
  ])('counts that fall are kept: %s', (_what, reports) => {
    expect(merge(...reports)).toMatchObject({ inputTokens: 12_000, outputTokens: 500 });
  });

  it('counts searches, takes fetches for free, and names whatever else ran on the server, such as code', () => {
    const tools = { web_search_requests: 2, web_fetch_requests: 3, code_execution_requests: 0 };
    expect(merge({ ...total, server_tool_use: tools })).toMatchObject({ webSearchRequests: 2 });
    expect(merge({ ...total, server_tool_use: tools })).not.toHaveProperty('otherTools');
    expect(merge({ ...total, server_tool_use: { ...tools, code_execution_requests: 1 } })).toMatchObject({
      webSearchRequests: 2,
      otherTools: { code_execution: 1 },
    });
    expect(failureOf(() => merge({ ...total, server_tool_use: { new_tool: 'often' } }))).toBeInstanceOf(UsageError);
  });

  it('a count that cannot be read is not mended by another event', () => {
    for (const wrong of [-1, 1.5, '12000', {}, [], true, 1e12]) {
      const right = { input_tokens: 12_000, output_tokens: 5 };
      expect(failureOf(() => merge(right, { input_tokens: wrong }))).toBeInstanceOf(UsageError);
      expect(failureOf(() => merge({ ...right, input_tokens: wrong }, right))).toBeInstanceOf(UsageError);
    }
  });

  it('writes to a cache that were split differently at the end contradict their total', () => {
    const split = (five: number, hour: number) => ({
      ...total,
      cache_creation_input_tokens: 100,
      cache_creation: { ephemeral_5m_input_tokens: five, ephemeral_1h_input_tokens: hour },
    });
    expect(merge(split(100, 0), split(0, 0))).toMatchObject({ cacheWrite5mTokens: 100, cacheWrite1hTokens: 0 });
    expect(failureOf(() => merge(split(100, 0), split(0, 100))).message).toMatch(/100 cache write tokens in total/);
  });

  it('usage of zero is usage', () => {
    expect(merge({ input_tokens: 0, output_tokens: 0 })).toMatchObject({ inputTokens: 0, outputTokens: 0 });
  });

  it('keeps what another model served apart, whether or not the totals count it', () => {
    const other = { model: 'claude-opus-4-8', inputTokens: 10, outputTokens: 500 };
    for (const stated of [total, { input_tokens: 10, output_tokens: 500 }, { input_tokens: 20, output_tokens: 520 }]) {
      const usage = merge({ ...stated, iterations: [own, fallback] });
      expect(usage).toMatchObject({ inputTokens: 10, outputTokens: 20, otherModels: [other] });
    }
    const failed = failureOf(() => merge({ input_tokens: 21, output_tokens: 520, iterations: [own, fallback] }));
    expect(failed.known).toMatchObject({ inputTokens: 10, otherModels: [other] });
  });

  it('takes a snapshot and its alias for one model, and another snapshot for another', () => {
    const of = (served: string, asked: string): ModelUsage =>
      usageFromAnthropic({ ...total, iterations: [{ ...own, model: served }] }, asked);
    expect(of('claude-haiku-4-5-20251001', 'claude-haiku-4-5')).not.toHaveProperty('otherModels');
    expect(of('claude-haiku-4-5', 'claude-haiku-4-5-20251001')).not.toHaveProperty('otherModels');
    expect(of('claude-fable-5-1', 'claude-fable-5').otherModels).toHaveLength(1);
  });

  it('adds an adviser’s tokens, which are in no total', () => {
    const usage = merge({ ...total, iterations: [own, { ...fallback, type: 'advisor_message' }] });
    expect(usage).toMatchObject({ outputTokens: 20, otherModels: [{ model: 'claude-opus-4-8', outputTokens: 500 }] });
  });

  it.each([
    ['requests that add up to less', { ...total, output_tokens: 21, iterations: [own] }],
    ['requests that add up to more', { ...total, output_tokens: 39, iterations: [own, own] }],
    ['a kind of request that is not known', { ...total, iterations: [{ ...own, type: 'dream' }] }],
    ['a fallback without a name', { ...total, iterations: [own, { ...fallback, model: null }] }],
    ['more thinking than output', { ...total, output_tokens_details: { thinking_tokens: 21 } }],
  ])('is refused for %s, and the stated totals are known', (_what, report) => {
    expect(failureOf(() => merge(report)).known).toMatchObject({ inputTokens: 10, outputTokens: report.output_tokens });
  });

  it('is refused for a fallback credit that was redeemed, and only then', () => {
    const credit = (type: string) => ({ ...total, fallback_credit: { status: { type } } });
    expect(failureOf(() => merge(credit('redeemed'))).message).toMatch(/fallback credit/);
    expect(merge(credit('not_applied'))).toMatchObject({ outputTokens: 20 });
  });
});

describe('OpenAI', () => {
  const plain = { input_tokens: 100, output_tokens: 50 };
  const read = (usage: unknown, output?: unknown): ModelUsage =>
    usageFromOpenAi(usage, { billsCacheWrites: false, output });

  it.each([
    ['a total that is no sum', { ...plain, total_tokens: 151 }, { inputTokens: 100, outputTokens: 50 }],
    ['more reasoning than output', { ...plain, output_tokens_details: { reasoning_tokens: 51 } }, { outputTokens: 50 }],
    [
      'more cached than input',
      { ...plain, input_tokens_details: { cached_tokens: 101 } },
      { outputTokens: 50, cacheReadTokens: 0 },
    ],
  ])('is refused for %s', (_what, usage, known) => {
    expect(failureOf(() => read(usage)).known).toMatchObject(known);
  });

  it.each([
    null,
    undefined,
    'none',
    {},
    { ...plain, input_tokens: -1 },
    { ...plain, output_tokens: '50' },
    { ...plain, input_tokens: 1e9 },
  ])('is refused for %j', (usage) => {
    expect(failureOf(() => read(usage))).toBeInstanceOf(UsageError);
  });

  it('counts searches, not pages that were opened, and names other tools that cost', () => {
    const search = { type: 'web_search_call', status: 'completed', action: { type: 'search' } };
    const output = [
      search,
      search,
      { type: 'web_search_call', action: { type: 'open_page' } },
      { type: 'file_search_call' },
      { type: 'function_call' },
      null,
    ];
    expect(read(plain, output)).toMatchObject({ webSearchRequests: 2, otherTools: { file_search_call: 1 } });
    expect(read(plain, [])).not.toHaveProperty('otherTools');
  });
});

describe('Google', () => {
  const merge = (...reports: unknown[]): ModelUsage =>
    usageFromGoogle(reports.reduce<GoogleUsage | undefined>(mergeGoogleUsage, undefined));

  it('keeps what the last report leaves out or sets to zero', () => {
    const usage = merge(
      { promptTokenCount: 12_000, thoughtsTokenCount: 300, totalTokenCount: 12_300 },
      { promptTokenCount: 0, candidatesTokenCount: 500, totalTokenCount: 500 },
    );
    expect(usage).toMatchObject({ inputTokens: 12_000, outputTokens: 800 });
  });

  it('is refused when a total is no sum, and knows what both agree on', () => {
    const parts = { promptTokenCount: 100, candidatesTokenCount: 50 };
    expect(failureOf(() => merge({ ...parts, totalTokenCount: 400 })).known).toMatchObject({ outputTokens: 50 });
    const neither = { ...parts, thoughtsTokenCount: 30, totalTokenCount: 160 };
    expect(failureOf(() => merge(neither)).known).toMatchObject({ inputTokens: 100, outputTokens: 60 });
    const moreThanAll = { ...parts, thoughtsTokenCount: 60, totalTokenCount: 150 };
    expect(failureOf(() => merge(moreThanAll)).known).toMatchObject({ inputTokens: 100, outputTokens: 50 });
    expect(failureOf(() => merge({ ...parts, totalTokenCount: -1 }))).toBeInstanceOf(UsageError);
  });

  it('has thoughts among the candidates where its total is right without them, and apart where it is right with them', () => {
    const parts = { promptTokenCount: 100, candidatesTokenCount: 500, thoughtsTokenCount: 400 };
    expect(merge({ ...parts, totalTokenCount: 600 })).toMatchObject({ inputTokens: 100, outputTokens: 500 });
    expect(merge({ ...parts, totalTokenCount: 1_000 })).toMatchObject({ inputTokens: 100, outputTokens: 900 });
    expect(merge(parts)).toMatchObject({ inputTokens: 100, outputTokens: 900 });
  });

  it('says at which tier it was served', () => {
    const at = (serviceTier: unknown) => merge({ promptTokenCount: 1, serviceTier }).modifiers;
    expect(at('standard')).toEqual({});
    expect(at('PRIORITY')).toEqual({ serviceTier: 'priority' });
  });

  it('names tokens that are no text, which have rates of their own, and says nothing of those at the rate of text', () => {
    const audio = {
      promptTokenCount: 10_000,
      candidatesTokenCount: 10,
      promptTokensDetails: [
        { modality: 'AUDIO', tokenCount: 9_900 },
        { modality: 'TEXT', tokenCount: 100 },
      ],
      candidatesTokensDetails: [{ modality: 'TEXT', tokenCount: 10 }],
    };
    expect(merge(audio, { promptTokenCount: 10_000, candidatesTokenCount: 10 })).toMatchObject({
      otherTools: { audio_input: 9_900 },
    });
    const drawn = [{ modality: 'IMAGE', tokenCount: 10 }];
    expect(merge({ ...audio, promptTokensDetails: drawn })).not.toHaveProperty('otherTools');
    expect(merge({ ...audio, promptTokensDetails: null, candidatesTokensDetails: drawn })).toMatchObject({
      otherTools: { image_output: 10 },
    });
    expect(merge({ ...audio, promptTokensDetails: [{ modality: 'AUDIO' }, null, {}] })).not.toHaveProperty(
      'otherTools',
    );
    const absurd = { ...audio, promptTokensDetails: [{ modality: 'AUDIO', tokenCount: -1 }] };
    expect(failureOf(() => merge(absurd))).toBeInstanceOf(UsageError);
  });

  it('counts queries, or answers up to Gemini 2.5', () => {
    const parts = [{ webSearchQueries: ['a', 'b'] }, { webSearchQueries: ['b', 'c'], groundingChunks: [{ web: {} }] }];
    expect(groundingFrom(parts, 'gemini-3-pro')).toEqual({ webSearchRequests: 3 });
    expect(groundingFrom(parts, 'gemini-2.5-flash')).toEqual({ webSearchRequests: 1 });
    expect(groundingFrom([{ searchEntryPoint: {} }], 'gemini-3-pro')).toEqual({ webSearchRequests: 1 });
    expect(groundingFrom([{}], 'gemini-3-pro')).toEqual({ webSearchRequests: 0 });
    expect(groundingFrom([{ groundingChunks: [{ maps: {} }] }], 'gemini-3-pro')).toMatchObject({
      otherTools: { google_maps: 1 },
    });
  });
});
