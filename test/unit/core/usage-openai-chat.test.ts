/** What OpenAI reports of a chat completion, read as money. */
import { UsageError } from '../../../core/prices/usage';
import { usageFromOpenAiChat } from '../../../core/prices/usage-openai-chat';

const read = (usage: unknown, billsCacheWrites = false): ReturnType<typeof usageFromOpenAiChat> =>
  usageFromOpenAiChat(usage, { billsCacheWrites, serviceTier: 'flex' });

test('its counts are those of a response, by the names of before', () => {
  const usage = {
    prompt_tokens: 1_000,
    completion_tokens: 300,
    total_tokens: 1_300,
    prompt_tokens_details: { cached_tokens: 400, cache_write_tokens: 100, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: 200, rejected_prediction_tokens: 0 },
  };
  const modifiers = { serviceTier: 'flex' };
  expect(read(usage)).toMatchObject({ inputTokens: 600, cacheReadTokens: 400, outputTokens: 300, modifiers });
  expect(read(usage, true)).toMatchObject({ inputTokens: 500, cacheReadTokens: 400, cacheWrite5mTokens: 100 });
});

test('tokens of sound are told apart: they have no price', () => {
  const usage = { prompt_tokens: 10, completion_tokens: 5, prompt_tokens_details: { audio_tokens: 7 } };
  expect(read(usage).otherTools).toEqual({ audio_input: 7 });
  expect(read({ ...usage, prompt_tokens_details: null }).otherTools).toBeUndefined();
});

test.each([
  ['no report', undefined],
  ['a count that is missing', { prompt_tokens: 1 }],
  ['a count that is none', { prompt_tokens: 1, completion_tokens: -1 }],
  ['a total that is not their sum', { prompt_tokens: 1, completion_tokens: 1, total_tokens: 3 }],
  [
    'more from a cache than there is',
    { prompt_tokens: 1, completion_tokens: 1, prompt_tokens_details: { cached_tokens: 2 } },
  ],
])('%s cannot be billed', (_what, usage) => {
  expect(() => read(usage)).toThrow(UsageError);
});
