/** What the plugin makes of calls of the AI SDK before and after they are made, without a server. */
import { ApplicationFailure } from '@temporalio/common';
import { isUuid } from '../../../core/ids';
import { formatUsd } from '../../../core/money';
import { modelActivities, plainModel, type ModelTerms } from '../../../workers/plugin/model-calls';
import type { HeldMoney } from '../../../workers/plugin/money';
import { planNamed } from '../../../workers/plugin/named-activities';
import { refused } from '../../../workers/plugin/refused';
import { operationIdOf } from '../../../workers/plugin/operation-id';
import { priceOfTest } from '../../support/proxy-prices';

const prices = [
  ...[priceOfTest('anthropic', 'claude-test'), priceOfTest('openai', 'gpt-test'), priceOfTest('mistral', 'm-test')],
  ...[priceOfTest('openai', 'gpt-4o-search-preview'), priceOfTest('google', 'gemini-test-image')],
  priceOfTest('google', 'gemini-test'),
  priceOfTest('openai', 'gpt-flex', { serviceTier: { flex: '0.5' } }),
];
const terms: ModelTerms = {
  ...{ maxOutputTokens: 8_192, fileTokensMax: undefined, modelOf: plainModel, isRegional: false, otherOptions: {} },
};
const said = [{ role: 'user', content: [{ type: 'text', text: 'Hello.' }] }];
const plan = (options: object, { modelId = 'claude-test', ...more }: { modelId?: string } & Partial<ModelTerms> = {}) =>
  modelActivities.invokeModel?.([{ modelId, options: { prompt: said, ...options } }], prices, { ...terms, ...more });
const usdOf = (...asked: Parameters<typeof plan>): number => Number(formatUsd(plan(...asked)?.amountUsd ?? 0n));

describe('a call that nobody can bound', () => {
  test.each([
    ['mcpServers', { providerOptions: { anthropic: { mcpServers: [{}] } } }],
    ['fallbacks', { providerOptions: { anthropic: { fallbacks: 'default' } } }],
    [
      'contextManagement',
      { providerOptions: { anthropic: { contextManagement: { edits: [{ type: 'compact_20260112' }] } } } },
    ],
    [
      'anthropic.web_search_20250305',
      { tools: [{ type: 'provider', id: 'anthropic.web_search_20250305', name: 'web' }] },
    ],
    ['file', { prompt: [{ role: 'user', content: [{ type: 'file', mediaType: 'image/png', data: 'AA==' }] }] }],
    [
      'image-data',
      {
        prompt: [
          {
            role: 'tool',
            content: [{ type: 'tool-result', output: { type: 'content', value: [{ type: 'image-data' }] } }],
          },
        ],
      },
    ],
  ])('is refused by the name of what it has: %s', (name, options) => {
    expect(() => plan(options)).toThrow(`"${name}"`);
    expect(() => plan(options)).toThrow('No call was made.');
  });

  test('at OpenAI is refused too, by what its provider has stored', () => {
    const options = { providerOptions: { openai: { previousResponseId: 'resp_1' } } };
    expect(() => plan(options, { modelId: 'gpt-test' })).toThrow('"previousResponseId"');
  });
});

test.each([
  ['gpt-4o-search-preview', 'searches by itself'],
  ['gemini-test-image', 'answers with more than text'],
])('a model that no price bounds is refused: %s', (modelId, why) => {
  expect(() => plan({}, { modelId })).toThrow(`"${modelId}" ${why}`);
});

test('an option of another provider’s is refused, but for those that are vouched for', () => {
  const asked = { providerOptions: { mistral: { safePrompt: true } } };
  expect(() => plan(asked, { modelId: 'm-test' })).toThrow('"safePrompt"');
  expect(() =>
    plan(asked, { modelId: 'm-test', otherOptions: { mistral: ['documentPageLimit'], openai: ['safePrompt'] } }),
  ).toThrow('"safePrompt"');
  expect(plan(asked, { modelId: 'm-test', otherOptions: { mistral: ['safePrompt'] } })).toHaveProperty('amountUsd');
});

describe('the tier of a call of OpenAI’s', () => {
  const openAi = { modelId: 'gpt-test' };
  const argsOf = (...asked: Parameters<typeof plan>): unknown =>
    (plan(...asked)?.args?.[0] as { options: { providerOptions?: unknown } }).options.providerOptions;

  test('is named where it is not, and stays where it is', () => {
    expect(argsOf({}, openAi)).toEqual({ openai: { serviceTier: 'default' } });
    expect(argsOf({ providerOptions: { openai: { store: false } } }, openAi)).toEqual({
      openai: { store: false, serviceTier: 'default' },
    });
    const auto = { providerOptions: { openai: { serviceTier: 'auto' } } };
    expect(argsOf(auto, openAi)).toEqual(auto.providerOptions);
    for (const openAiServiceTier of ['default', 'auto'] as const)
      expect(argsOf({}, { ...openAi, openAiServiceTier })).toBeUndefined();
    expect(argsOf({})).toBeUndefined();
  });

  test('is named to nobody but OpenAI itself: others may refuse what they do not know, and are held at the dearest', () => {
    const held = usdOf({}, openAi);
    const modelOf = (): string => 'gpt-test';
    for (const modelId of ['gpt-test', 'openai:gpt-test', 'openai/gpt-test', 'ft:gpt-test:org::1', 'fast'])
      expect(argsOf({}, { modelId, modelOf })).toEqual({ openai: { serviceTier: 'default' } });
    for (const openAiBaseUrl of ['https://api.openai.com/v1', 'https://eu.api.openai.com/v1'])
      expect(argsOf({}, { ...openAi, openAiBaseUrl })).toEqual({ openai: { serviceTier: 'default' } });
    const others = [
      { ...openAi, openAiBaseUrl: 'https://llm.example.org/v1' },
      { ...openAi, openAiBaseUrl: 'https://api.openai.com.example.org/v1' },
      ...['azure:gpt-test', 'groq/gpt-test'].map((modelId) => ({ modelId, modelOf })),
    ];
    for (const other of others) {
      expect(argsOf({}, other)).toBeUndefined();
      expect(usdOf({}, other)).toBeGreaterThan(held * 2.4);
    }
    const azure = { providerOptions: { azure: { user: 'u' } } };
    expect(argsOf(azure, openAi)).toEqual(azure.providerOptions);
  });

  test('that is left open is held at 2.5 times the standard, unless that is known to be the default', () => {
    const standard = usdOf({}, { ...openAi, openAiServiceTier: 'default' });
    expect(usdOf({}, { ...openAi, openAiServiceTier: 'auto' })).toBeCloseTo(standard * 2.5, 9);
    // The AI SDK leaves it out for a model that is not on its list.
    const flex = { providerOptions: { openai: { serviceTier: 'flex' } } };
    expect(usdOf(flex, { modelId: 'gpt-flex' })).toBeGreaterThan(standard * 2.4);
  });

  test('that served a stream is what was asked for; nobody knows it where that was left open', () => {
    const stream = { usage: { raw: { input_tokens: 1_000, output_tokens: 100, total_tokens: 1_100 } } };
    const priced = (options: object, more: Partial<ModelTerms> = {}, told: object = {}) =>
      plan(options, { ...openAi, ...more })?.priced({ ...stream, ...told }, {} as HeldMoney);
    const known = { billed: 'known', costUsd: 1_500_000_000n };
    const open = { billed: 'unknown', knownUsd: 1_500_000_000n };
    expect(priced({})).toMatchObject(known);
    expect(priced({}, { openAiServiceTier: 'default' })).toMatchObject(known);
    expect(priced({}, { openAiServiceTier: 'auto' })).toMatchObject(open);
    const warnings = [{ type: 'unsupported', feature: 'serviceTier' }];
    const flex = { providerOptions: { openai: { serviceTier: 'flex' } } };
    expect(priced(flex, { modelId: 'gpt-flex' } as object, { warnings })).toMatchObject(open);
    expect(priced(flex, { modelId: 'gpt-flex' } as object)).toMatchObject({ billed: 'known', costUsd: 750_000_000n });
    // A whole answer says it.
    const body = { ...stream, response: { body: { usage: stream.usage.raw, service_tier: 'default' } } };
    expect(priced({}, { openAiServiceTier: 'auto' }, body)).toMatchObject(known);
  });
});

describe('a call that is bounded', () => {
  test('counts a file as the most that one comes to', () => {
    const prompt = [{ role: 'user', content: [{ type: 'file', mediaType: 'image/png', data: 'AA==' }] }];
    const with10k = usdOf({ prompt }, { fileTokensMax: 10_000 });
    // $1 a million.
    expect(with10k - usdOf({ prompt }, { fileTokensMax: 1 })).toBeCloseTo(0.009999, 9);
  });

  test('counts what is said of a file, and a text that is longer than a file may be', () => {
    const of = (part: object): number =>
      usdOf({ prompt: [{ role: 'user', content: [{ type: 'file', ...part }] }] }, { fileTokensMax: 100 });
    const text = { mediaType: 'text/plain', data: { type: 'data', data: Buffer.from('x').toString('base64') } };
    const long = 'x'.repeat(10_000);
    const context = of({ ...text, providerOptions: { anthropic: { title: 'T', context: long } } });
    expect(context - of(text)).toBeGreaterThan(0.01);
    for (const data of [
      { type: 'data', data: Buffer.from(long).toString('base64') },
      { type: 'text', text: long },
    ])
      expect(of({ ...text, data }) - of(text)).toBeGreaterThan(0.0098);
    // Bytes bound no image.
    const image = { mediaType: 'image/png', data: { type: 'data', data: long } };
    expect(of(image)).toBeCloseTo(of({ ...image, data: { type: 'data', data: 'x' } }), 9);
  });

  test('counts a thought that stands at OpenAI as the longest that may have been made', () => {
    const thought = { type: 'reasoning', text: '', providerOptions: { openai: { itemId: 'rs_1' } } };
    const prompt = [{ role: 'assistant', content: [thought] }];
    const of = (asked: object): number => usdOf({ maxOutputTokens: 10, ...asked }, { modelId: 'gpt-test' });
    // As long as those that name no limit: $1 a million.
    expect(of({ prompt }) - of({})).toBeGreaterThan(0.008);
  });

  test('holds Anthropic’s thoughts beside its answer, and those of others within it', () => {
    const plain = usdOf({ maxOutputTokens: 1_000 });
    const thinking = { type: 'enabled', budgetTokens: 4_000 };
    const more = usdOf({ maxOutputTokens: 1_000, providerOptions: { anthropic: { thinking } } }) - plain;
    // $5 a million, and what the option itself says.
    expect(more).toBeGreaterThan(0.02);
    expect(more).toBeLessThan(0.021);
    const openAi = { modelId: 'gpt-test' };
    expect(
      usdOf({ maxOutputTokens: 1_000, reasoning: 'high' }, openAi) - usdOf({ maxOutputTokens: 1_000 }, openAi),
    ).toBeLessThan(0.001);
  });

  test('keeps all that it was called with, and names its limit', () => {
    expect(plan({ temperature: 0.5 })?.args).toEqual([
      { modelId: 'claude-test', options: { prompt: said, temperature: 0.5, maxOutputTokens: 8_192 } },
    ]);
  });
});

describe('a result', () => {
  const held = {} as HeldMoney;
  const priced = (result: object, options: object = {}) => plan(options)?.priced(result, held);

  test('of a stream is priced by its provider’s report: what was cached for an hour at its rate', () => {
    const cache_creation = { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: 1_000 };
    const raw = { input_tokens: 1_000, output_tokens: 100, cache_creation_input_tokens: 1_000, cache_creation };
    // $1, $5, and $2 for what is cached so.
    expect(priced({ usage: { raw } })).toMatchObject({ billed: 'known', costUsd: 3_500_000_000n });
  });

  test('of Gemini’s is priced by its own report: its cache at its rate, its thoughts as an answer', () => {
    const counts = { promptTokenCount: 1_000, cachedContentTokenCount: 400, candidatesTokenCount: 60 };
    const raw = { ...counts, thoughtsTokenCount: 40, totalTokenCount: 1_100 };
    const price = (usage: object) => plan({}, { modelId: 'gemini-test' })?.priced({ usage }, held);
    // 600 at $1, 400 at $0.10, and 100 at $5 a million.
    expect(price({ raw })).toMatchObject({ billed: 'known', costUsd: 1_140_000_000n });
    // A report that does not add up is not believed.
    expect(price({ raw: { ...raw, totalTokenCount: 1_200 } })).toMatchObject({ billed: 'unknown' });
  });

  test('whose report is of no shape that is known is priced by the AI SDK’s counts', () => {
    const usage = { inputTokens: { total: 1_000, cacheRead: 400, cacheWrite: 0 }, outputTokens: { total: 100 } };
    expect(priced({ usage })).toMatchObject({ billed: 'known', costUsd: 1_140_000_000n });
    expect(priced({})).toMatchObject({ billed: 'unknown' });
  });
});

test.each([
  ['a refusal before any output', { name: 'AI_APICallError', statusCode: 529 }, 'no'],
  ['a key that is not set', { name: 'AI_LoadAPIKeyError' }, 'no'],
  ['an error of the provider’s', { name: 'AI_APICallError', statusCode: 500 }, 'unknown'],
  ['an answer that cannot be read', { name: 'AI_APICallError', statusCode: 200 }, 'unknown'],
  ['a connection that was never made', { name: 'AI_APICallError', cause: { cause: { code: 'ECONNREFUSED' } } }, 'no'],
  ['a connection that broke', { name: 'AI_APICallError', cause: { cause: { code: 'ECONNRESET' } } }, 'unknown'],
  ['what says so itself', { name: 'NotBilledError' }, 'no'],
  ['a refusal of a plugin that came between', refused('claim_refused', 'It has ended. No call was made.'), 'no'],
  [
    'a failure of somebody else’s that says so',
    ApplicationFailure.create({ type: 'Refused', message: 'No call was made.' }),
    'unknown',
  ],
  ['a refusal that says nothing of a call', refused('invalid_request', 'It is nothing.'), 'unknown'],
  ['anything else', new Error('Whatever.'), 'unknown'],
])('%s tells what was billed', (_what, error, billed) => {
  expect(plan({})?.failed(error)).toMatchObject({ billed });
});

test('an answer of OpenAI’s that failed is no refusal: it costs what it used, where it says so', () => {
  const failed = (responseBody: unknown) =>
    plan({}, { modelId: 'gpt-test' })?.failed({ name: 'AI_APICallError', statusCode: 400, responseBody });
  const error = { code: 'server_error' };
  expect(failed(JSON.stringify({ error }))).toEqual({ billed: 'no' });
  expect(failed({ error, usage: null })).toMatchObject({ billed: 'unknown', knownUsd: 0n });
  const usage = { input_tokens: 1_000, output_tokens: 100, total_tokens: 1_100 };
  expect(failed({ error, usage, output: [] })).toMatchObject({ billed: 'known', costUsd: 1_500_000_000n });
});

test.each([
  ['a refusal of a provider that it asks', { name: 'AI_APICallError', statusCode: 429 }, 'unknown'],
  ['a prompt that cannot be', { name: 'AI_InvalidPromptError' }, 'unknown'],
  ['anything else', new Error('Whatever.'), 'unknown'],
  ['a refusal of ours', refused('claim_refused', 'It has ended. No call was made.'), 'unknown'],
  ['what says so itself', { name: 'NotBilledError' }, 'no'],
])(
  'of an activity of a user’s own, which may have called before, %s tells what was billed',
  async (_what, error, billed) => {
    const planned = await planNamed({ estimateUsd: '1' }, { name: 'research', args: [] });
    expect(planned.failed(error)).toMatchObject({ billed });
  },
);

test('an activity of a user’s own has a resource that can be, or is not called', async () => {
  const asked = { name: 'research', args: [] };
  const planned = planNamed({ estimateUsd: '1', resource: 'Geo coding' }, asked);
  await expect(planned).rejects.toMatchObject({ type: 'invalid_request', nonRetryable: true });
  expect(await planNamed({ estimateUsd: '1', resource: 'geocoding' }, asked)).toMatchObject({ resource: 'geocoding' });
});

test('an attempt has one operation, and the next another', () => {
  const first = {
    namespace: 'default',
    workflowId: 'w',
    runId: 'r',
    activityId: '1',
    scheduledTimestampMs: 1,
    attempt: 1,
  };
  expect(isUuid(operationIdOf(first))).toBe(true);
  expect(operationIdOf({ ...first })).toBe(operationIdOf(first));
  const others = [{ attempt: 2 }, { activityId: '2' }, { runId: 's' }, { workflowId: 'v' }, { namespace: 'other' }];
  // The id of one that has ended may be given again, and standalone ones have no workflow.
  const alike = [{ scheduledTimestampMs: 2 }, { activityRunId: 'a' }];
  expect(new Set([first, ...alike.map((other) => ({ ...first, ...other }))].map(operationIdOf)).size).toBe(3);
  expect(new Set([first, ...others.map((other) => ({ ...first, ...other }))].map(operationIdOf)).size).toBe(6);
});
