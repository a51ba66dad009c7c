/** What the wire proxy makes of a request of OpenAI's before it is passed on: what it can cost at most, and what it must not bring. */
import fc from 'fast-check';
import { askedOf, checkCounted } from '../../../api/proxy/openai/responses/ask';
import { estimateModelCall } from '../../../core/prices/pricing';
import { priceOfTest } from '../../support/proxy-prices';

const price = priceOfTest('openai', 'gpt-of-a-test', { serviceTier: { flex: '0.5', priority: '2' } });
const account = { apiKey: 'a key' };
const base = { model: price.model, max_output_tokens: 100, input: 'Hello' };
const asked = (more: object): ReturnType<typeof askedOf> => askedOf({ ...base, ...more }, price, account);
const said = (...content: object[]): object => ({ input: [{ role: 'user', content }] });

describe('a request of OpenAI’s Responses API', () => {
  test('is bounded by no fewer tokens than its texts have bytes, wherever they stand', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 300 });
    fc.assert(
      fc.property(text, text, text, text, (instructions, words, output, description) => {
        const { inputTokens } = asked({
          instructions,
          input: [
            { role: 'user', content: words },
            { type: 'function_call', call_id: 'c', name: 'n', arguments: words },
            { type: 'function_call_output', call_id: 'c', output: [{ type: 'input_text', text: output }] },
          ],
          tools: [{ type: 'function', name: 'n', description, parameters: {} }],
        });
        const bytes = [instructions, words, words, output, description].reduce(
          (n, one) => n + Buffer.byteLength(one),
          0,
        );
        return inputTokens >= bytes + 530;
      }),
    );
  });

  test('that has its prompt kept for longer than writing it has a price for is refused', () => {
    expect(() => asked({ prompt_cache_options: { ttl: '12h' } })).toThrow(/prompt_cache_options.ttl other than "30m"/);
    const withPart = (ttl: unknown) => {
      const part = { type: 'input_text', text: 'Hi', prompt_cache_breakpoint: { mode: 'explicit', ttl } };
      return asked({ input: [{ role: 'user', content: [part] }], service_tier: 'default' });
    };
    expect(() => withPart('12h')).toThrow(/prompt_cache_breakpoint.ttl other than "30m"/);
    expect(withPart('30m').planned).toEqual({ modifiers: {} });
    for (const options of [{ ttl: '30m' }, { mode: 'explicit' }, null])
      expect(asked({ prompt_cache_options: options, service_tier: 'default' }).planned).toEqual({ modifiers: {} });
  });

  test('is priced by the tier that it asks for, and by the dearest where it leaves that to the project', () => {
    expect(asked({}).planned).toEqual({ modifiers: { serviceTier: 'priority' } });
    expect(asked({ service_tier: 'auto' }).planned).toEqual({ modifiers: { serviceTier: 'priority' } });
    expect(asked({ service_tier: 'default' }).planned).toEqual({ modifiers: {} });
    expect(asked({ service_tier: 'flex' }).planned).toEqual({ modifiers: { serviceTier: 'flex' } });
  });

  test('is bounded at the dearest tier that is documented where its price has none, unless the project’s is known', () => {
    const plain = priceOfTest('openai', 'gpt-without-tiers');
    const of = (more: object, serviceTier?: 'default') => {
      const { planned, maxOutputTokens } = askedOf({ ...base, ...more }, plain, { ...account, serviceTier });
      return estimateModelCall(plain, { inputTokens: 100, maxOutputTokens, ...planned });
    };
    const standard = of({ service_tier: 'default' });
    expect([of({}), of({ service_tier: 'auto' })]).toEqual([(standard * 5n) / 2n, (standard * 5n) / 2n]);
    expect([of({}, 'default'), of({ service_tier: 'auto' }, 'default')]).toEqual([standard, standard]);
    expect(() => of({ service_tier: 'priority' }, 'default')).toThrow(/priority/);
  });

  test('with an image or a file that comes with it has to be counted by its provider', () => {
    const image = { type: 'input_image', image_url: 'data:image/png;base64,AAAA' };
    const file = { type: 'input_file', filename: 'a.pdf', file_data: 'data:application/pdf;base64,AAAA' };
    const bare = { type: 'input_file', filename: 'a.pdf', file_data: 'AAAA' };
    for (const part of [image, file, bare]) expect(asked(said(part)).mustBeCounted).toBe(true);
    const inside = { type: 'function_call_output', call_id: 'c', output: [image] };
    expect(asked({ input: [inside] }).mustBeCounted).toBe(true);
    expect(asked(said({ type: 'input_text', text: 'a' })).mustBeCounted).toBe(false);
  });

  const byAddress = { type: 'input_image', image_url: 'https://example.com/a' };
  const sources: [string, object, string][] = [
    ['an image by its address', said(byAddress), 'image_url'],
    [
      'thoughts that are empty',
      { input: [{ type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: '' }] },
      'encrypted_content',
    ],
    ['instructions that are no text', { instructions: [{ role: 'user', content: 'Hi' }] }, 'instructions'],
    ['an image by what is no address', said({ ...byAddress, image_url: { url: 'https://a.example' } }), 'image_url'],
    ['an image that the provider keeps', said({ type: 'input_image', file_id: 'file_1' }), 'file_id'],
    ['a file by its address', said({ type: 'input_file', file_url: 'https://example.com/a' }), 'file_url'],
    ['a file that the provider keeps', said({ type: 'input_file', file_id: 'file_1' }), 'file_id'],
    ['a file whose bytes are an address', said({ type: 'input_file', file_data: 'https://a.example' }), 'file_data'],
    [
      'an address in what a function answers',
      { input: [{ type: 'function_call_output', call_id: 'c', output: [byAddress] }] },
      'image_url',
    ],
    ['an address beside a text', said({ type: 'input_text', text: 'a', more: [[byAddress]] }), 'image_url'],
    ['a part that is not known', said({ type: 'input_of_tomorrow' }), 'input_of_tomorrow'],
    ['an item that is stored', { input: [{ type: 'item_reference', id: 'i' }] }, 'item_reference'],
    ['an image that was made before', { input: [{ type: 'image_generation_call', id: 'i' }] }, 'image_generation_call'],
    ['thoughts that are stored', { input: [{ type: 'reasoning', id: 'rs_1', summary: [] }] }, 'encrypted_content'],
  ];
  test.each(sources)('with %s is refused by its name, and not counted either', (_what, more, name) => {
    expect(() => asked(more)).toThrow(name);
    expect(() => checkCounted({ model: price.model, ...more })).toThrow(name);
  });

  test.each([
    ['previous_response_id', { previous_response_id: 'resp_1' }],
    ['conversation', { conversation: 'conv_1' }],
    ['prompt', { prompt: { id: 'p' } }],
    ['web_search', { tools: [{ type: 'web_search' }] }],
  ])('that names what is stored or runs elsewhere (%s) is not counted either', (name, more) => {
    expect(() => asked(more)).toThrow(name);
    expect(() => checkCounted({ ...said({ type: 'input_text', text: 'a' }), ...more })).toThrow(name);
  });

  test.each([
    ['background', { background: true }],
    ['context_management', { context_management: [{ type: 'compaction' }] }],
    ['moderation', { moderation: {} }],
    ['pro', { reasoning: { mode: 'pro' } }],
  ])('that asks for more than one answer at once (%s) is refused by its name', (name, more) => {
    expect(() => asked(more)).toThrow(name);
  });

  test('may bring the thoughts of before with it, be stored, and leave fields open by null', () => {
    const thoughts = { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: 'A'.repeat(1_000) };
    const open = { previous_response_id: null, conversation: null, background: false, tools: null, reasoning: null };
    const { inputTokens, mustBeCounted } = asked({
      ...open,
      store: true,
      input: [thoughts, { role: 'user', content: 'a' }],
    });
    expect(mustBeCounted).toBe(false);
    expect(inputTokens).toBeGreaterThan(1_000);
  });
});
