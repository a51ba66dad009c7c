/** What the plugin makes of calls of the AI SDK before and after they are made, without a server. */
import { isUuid } from '../../../core/ids';
import { formatUsd } from '../../../core/money';
import { outcomeOfError } from '../../../workers/plugin/call-errors';
import { modelActivities, plainModel, type ModelTerms } from '../../../workers/plugin/model-calls';
import type { HeldMoney } from '../../../workers/plugin/money';
import { operationIdOf } from '../../../workers/plugin/operation-id';
import { priceOfTest } from '../../support/proxy-prices';

const prices = [priceOfTest('anthropic', 'claude-test'), priceOfTest('openai', 'gpt-test')];
const terms: ModelTerms = { maxOutputTokens: 8_192, fileTokensMax: undefined, modelOf: plainModel, isRegional: false };
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

describe('a call that is bounded', () => {
  test('counts a file as the most that one comes to', () => {
    const prompt = [{ role: 'user', content: [{ type: 'file', mediaType: 'image/png', data: 'AA==' }] }];
    const with10k = usdOf({ prompt }, { fileTokensMax: 10_000 });
    // $1 a million.
    expect(with10k - usdOf({ prompt }, { fileTokensMax: 1 })).toBeCloseTo(0.009999, 9);
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
  ['anything else', new Error('Whatever.'), 'unknown'],
])('%s tells what was billed', (_what, error, billed) => {
  expect(outcomeOfError(error)).toMatchObject({ billed });
});

test('an attempt has one operation, and the next another', () => {
  const first = { namespace: 'default', workflowId: 'w', runId: 'r', activityId: '1', attempt: 1 };
  expect(isUuid(operationIdOf(first))).toBe(true);
  expect(operationIdOf({ ...first })).toBe(operationIdOf(first));
  const others = [{ attempt: 2 }, { activityId: '2' }, { runId: 's' }, { workflowId: 'v' }, { namespace: 'other' }];
  expect(new Set([first, ...others.map((other) => ({ ...first, ...other }))].map(operationIdOf)).size).toBe(6);
});
