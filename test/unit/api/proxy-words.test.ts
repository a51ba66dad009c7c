/** What a client of the wire proxy is told whose base URL, or whose provider, is another. */
import { anthropicWire } from '../../../api/proxy/anthropic/wire';
import { priceOf } from '../../../api/proxy/bound';
import { googleWire } from '../../../api/proxy/google/wire';
import { openAiWire } from '../../../api/proxy/openai/wire';
import type { ApiError } from '../../../api/http/errors';
import type { ModelPrice } from '../../../core/prices/prices';

describe('the wire proxy says what is wrong', () => {
  test.each([
    [openAiWire, '/responses', '/proxy/openai/v1'],
    [openAiWire, '/chat/completions', '/proxy/openai/v1'],
    [anthropicWire, '/v1/v1/messages', 'ends in /proxy/anthropic:'],
    [googleWire, '/v1beta/v1beta/models/gemini-2.5-flash:generateContent', 'ends in /proxy/google:'],
    [googleWire, '/v1/v1beta/models/gemini-2.5-flash:generateContent', 'ends in /proxy/google:'],
    [googleWire, '/v1alpha/models/gemini-2.5-flash:generateContent', 'v1 and v1beta'],
    [googleWire, '/v1/interactions', 'Interactions'],
    [googleWire, '/v1beta/models/gemini-embedding-001:batchEmbedContents', 'no price'],
    [googleWire, '/v1beta/models/gemini-2.5-flash:batchGenerateContent', 'A batch'],
  ])('with a base URL of $name', (wire, path, says) => {
    expect(wire.whyNot(path)).toContain(says);
  });

  test('with a model of another provider', () => {
    const price = { provider: 'openai', model: 'gpt-4o', effectiveFromMs: 0 } as ModelPrice;
    let told: unknown;
    try {
      priceOf(anthropicWire, 'gpt-4o', [price]);
    } catch (error) {
      told = error;
    }
    expect(told).toMatchObject({ code: 'unpriced_model' });
    expect((told as ApiError).more.action).toContain('/proxy/openai');
  });
});
