/** What the wire proxy makes of a chat completion of OpenAI's before it is passed on: what it can cost at most, and how it is counted. */
import fc from 'fast-check';
import { askedOf } from '../../../api/proxy/openai/chat/ask';
import { countOf } from '../../../api/proxy/openai/chat/count';
import { priceOfTest } from '../../support/proxy-prices';

const price = priceOfTest('openai', 'gpt-of-a-test', { serviceTier: { flex: '0.5', priority: '2' } });
const base = { model: price.model, max_completion_tokens: 100, messages: [{ role: 'user', content: 'Hello' }] };
const asked = (more: object, of = price): ReturnType<typeof askedOf> =>
  askedOf({ ...base, ...more }, of, { apiKey: 'a key' });
const said = (...content: object[]): object => ({ messages: [{ role: 'user', content }] });
const image = { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA', detail: 'low' } };
const file = { type: 'file', file: { filename: 'a.pdf', file_data: 'data:application/pdf;base64,AAAA' } };
const history = [
  { role: 'developer', content: 'Be brief.' },
  { role: 'user', content: [{ type: 'text', text: 'Look' }, image, file] },
  {
    role: 'assistant',
    content: null,
    tool_calls: [{ id: 'c', type: 'function', function: { name: 'n', arguments: '{}' } }],
  },
  { role: 'tool', tool_call_id: 'c', content: 'found' },
  { role: 'assistant', content: 'There.' },
];

const text = 'a b '.repeat(10_000);

describe('a chat completion', () => {
  test('is bounded by no fewer tokens than its texts have bytes, wherever they stand', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 300 });
    fc.assert(
      fc.property(text, text, text, text, (system, words, output, description) => {
        const { inputTokens } = asked({
          messages: [
            { role: 'system', content: [{ type: 'text', text: system }] },
            { role: 'user', content: words, name: 'somebody' },
            {
              role: 'assistant',
              tool_calls: [{ id: 'c', type: 'function', function: { name: 'n', arguments: words } }],
            },
            { role: 'tool', tool_call_id: 'c', content: output },
          ],
          tools: [{ type: 'function', function: { name: 'n', description, parameters: {} } }],
        });
        const bytes = [system, words, words, output, description].reduce((n, one) => n + Buffer.byteLength(one), 0);
        return inputTokens >= bytes + 530;
      }),
    );
  });

  test('may be as long as its limit, in each of the answers that it asks for', () => {
    expect(asked({}).maxOutputTokens).toBe(100);
    expect(asked({ max_completion_tokens: undefined, max_tokens: 70 }).maxOutputTokens).toBe(70);
    expect(asked({ max_tokens: 300 }).maxOutputTokens).toBe(300);
    expect(asked({ n: 5 }).maxOutputTokens).toBe(500);
    const open = { max_completion_tokens: undefined, n: 2 };
    expect(asked(open, priceOfTest('openai', 'gpt-5'))).toMatchObject({
      ...{ maxOutputTokens: 256_000, openField: 'max_completion_tokens' },
    });
    expect(() => asked(open)).toThrow(/max_completion_tokens: .*"gpt-of-a-test" can be is not known/);
    expect(asked({ n: null, modalities: ['text'] }).maxOutputTokens).toBe(100);
  });

  test('that has its prompt kept for longer than writing it has a price for is refused', () => {
    expect(() => asked({ prompt_cache_options: { ttl: '12h' } })).toThrow(/prompt_cache_options.ttl other than "30m"/);
    const withPart = (ttl: unknown) => {
      const part = { type: 'text', text: 'Hi', prompt_cache_breakpoint: { mode: 'explicit', ttl } };
      return asked({ messages: [{ role: 'user', content: [part] }], service_tier: 'default' });
    };
    expect(() => withPart('12h')).toThrow(/prompt_cache_breakpoint.ttl other than "30m"/);
    expect(withPart('30m').planned).toEqual({ modifiers: {} });
    for (const options of [{ ttl: '30m' }, { mode: 'explicit' }, null])
      expect(asked({ prompt_cache_options: options, service_tier: 'default' }).planned).toEqual({ modifiers: {} });
  });

  test('is priced by its tier, and by the dearest where it leaves that to the project', () => {
    expect(asked({}).planned).toEqual({ modifiers: { serviceTier: 'priority' } });
    expect(asked({ service_tier: 'default' }).planned).toEqual({ modifiers: {} });
    expect(asked({ service_tier: 'flex' }).planned).toEqual({ modifiers: { serviceTier: 'flex' } });
  });

  test.each<[string, object, string]>([
    ['no limit of its length', { max_completion_tokens: undefined }, 'max_completion_tokens'],
    ['a limit that is none', { max_tokens: 1.5 }, 'max_tokens'],
    ['a limit beyond all', { max_tokens: 1e9 }, 'from 1 to 100000000'],
    ['a tool of another kind', { tools: [{ type: 'local_shell' }] }, 'known to cost nothing at the provider'],
    ['answers without number', { n: 1_000 }, 'n:'],
    ['no answer', { n: 0 }, 'n:'],
    ['a stream that would not say what it used', { stream: true }, '{"include_usage": true}'],
    ['a stream that is told not to', { stream: true, stream_options: { include_usage: false } }, 'include_usage'],
    ['spoken answers', { modalities: ['text', 'audio'], audio: { voice: 'a', format: 'wav' } }, 'audio'],
    ['modalities other than text', { modalities: ['audio'] }, 'modalities'],
    ['web searches', { web_search_options: {} }, 'web_search_options'],
    ['a prediction, whose rest is billed', { prediction: { type: 'content', content: 'a' } }, 'prediction'],
    ['a tool that is not known', { tools: [{ type: 'of_tomorrow' }] }, 'of_tomorrow'],
    ['sound', said({ type: 'input_audio', input_audio: { data: 'AAAA', format: 'wav' } }), 'input_audio'],
    ['sound that is stored', { messages: [{ role: 'assistant', audio: { id: 'a' } }] }, 'audio'],
    ['an image by its address', said({ type: 'image_url', image_url: { url: 'https://a.example' } }), 'image_url'],
    ['a file that is stored', said({ type: 'file', file: { file_id: 'file_1' } }), 'file_id'],
    ['no messages', { messages: [] }, 'messages'],
  ])('with %s is refused by its name', (_what, more, name) => {
    expect(() => asked(more)).toThrow(name);
  });

  test('of a model that searches by itself is refused, whatever price it has', () => {
    expect(() => asked({}, priceOfTest('openai', 'gpt-4o-search-preview'))).toThrow(/searches by itself/);
  });

  test('may be stored, be a stream that says what it used, and leave fields open by null', () => {
    const open = { stream: true, stream_options: { include_usage: true }, store: true, audio: null, tools: null };
    expect(asked({ ...open, web_search_options: null, n: null }).maxOutputTokens).toBe(100);
  });

  test('with an image or a file that comes with it is counted, as the same prompt of the Responses API', () => {
    expect(asked({ messages: history }).mustBeCounted).toBe(true);
    const tools = [{ type: 'function', function: { name: 'n', parameters: { type: 'object' } } }];
    const { path, body, tokensIn } = countOf({ ...base, messages: history, tools, stream: true });
    expect(path).toBe('/v1/responses/input_tokens');
    expect(body).toEqual({
      model: price.model,
      input: [
        { role: 'developer', content: 'Be brief.' },
        {
          role: 'user',
          content: [
            { type: 'input_text', text: 'Look' },
            { type: 'input_image', image_url: 'data:image/png;base64,AAAA', detail: 'low' },
            { type: 'input_file', filename: 'a.pdf', file_data: 'data:application/pdf;base64,AAAA' },
          ],
        },
        { type: 'function_call', call_id: 'c', name: 'n', arguments: '{}' },
        { type: 'function_call_output', call_id: 'c', output: 'found' },
        { role: 'assistant', content: 'There.' },
      ],
      tools: [{ type: 'function', name: 'n', parameters: { type: 'object' } }],
    });
    expect(tokensIn({ input_tokens: 100 })).toBe(100 + 5 * 16);
    expect(tokensIn({})).toBeUndefined();
  });

  test.each<[string, object]>([
    ['what an assistant refused beside its content', { role: 'assistant', content: null, refusal: text }],
    ['its author’s name', { role: 'user', name: text, content: 'Hi' }],
    ['a field that is not known', { role: 'user', content: 'Hi', of_tomorrow: text }],
    ['the text of a part that has another', { role: 'user', content: [{ type: 'refusal', text, refusal: '' }] }],
    ['what a part refuses that says another', { role: 'user', content: [{ type: 'text', text: '', refusal: text }] }],
  ])('counts %s, although its provider does not', (_what, message) => {
    const messages = [message];
    expect(asked({ messages }).inputTokens).toBeGreaterThanOrEqual(text.length);
    expect(countOf({ ...base, messages }).tokensIn({ input_tokens: 1 })).toBeGreaterThanOrEqual(text.length);
  });
});
