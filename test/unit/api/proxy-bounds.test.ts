/** What the wire proxy makes of a request before it is passed on: what it can cost at most, and what its body must not hide. */
import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import fc from 'fast-check';
import { askedOf } from '../../../api/proxy/anthropic/ask';
import { askedIn, readBody } from '../../../api/proxy/body';
import { estimateModelCall } from '../../../core/prices/pricing';
import { priceOfTest } from '../../support/proxy-prices';

const price = priceOfTest('anthropic', 'claude-of-a-test', {
  inferenceGeo: { us: '1.1' },
  serviceTier: { batch: '0.5' },
  speed: { fast: '6' },
});
const base = { model: price.model, max_tokens: 100, messages: [{ role: 'user', content: 'Hello' }] };
const asked = (more: object): ReturnType<typeof askedOf> => askedOf({ ...base, ...more }, price);
const amount = (more: object): bigint => {
  const { inputTokens, maxOutputTokens, planned } = asked(more);
  return estimateModelCall(price, { inputTokens, maxOutputTokens, ...planned });
};

describe('a request of Anthropic’s Messages API', () => {
  test('is bounded by no fewer tokens than its texts have bytes, wherever they stand', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 300 });
    fc.assert(
      fc.property(text, text, text, text, (system, said, result, description) => {
        const { inputTokens } = asked({
          system: [{ type: 'text', text: system }],
          messages: [
            { role: 'user', content: said },
            { role: 'assistant', content: [{ type: 'tool_use', id: 't', name: 'n', input: { said } }] },
            {
              role: 'user',
              content: [{ type: 'tool_result', tool_use_id: 't', content: [{ type: 'text', text: result }] }],
            },
          ],
          tools: [{ name: 'n', description, input_schema: { type: 'object' } }],
        });
        const bytes = [system, said, said, result, description].reduce((sum, one) => sum + Buffer.byteLength(one), 0);
        return inputTokens >= bytes + 530;
      }),
    );
  });

  test.each([
    ['five minutes', { cache_control: { type: 'ephemeral' } }, '5m'],
    [
      'five minutes, deep inside',
      { tools: [{ name: 'n', input_schema: {}, cache_control: { type: 'ephemeral', ttl: '5m' } }] },
      '5m',
    ],
    [
      'an hour, beside five minutes',
      {
        system: [
          { type: 'text', text: 'a', cache_control: { type: 'ephemeral' } },
          { type: 'text', text: 'b', cache_control: { type: 'ephemeral', ttl: '1h' } },
        ],
      },
      '1h',
    ],
    ['a time that is not known, as the longest', { cache_control: { type: 'ephemeral', ttl: '1d' } }, '1h'],
  ])('that asks a cache to keep something for %s is priced so', (_what, more, ttl) => {
    expect(asked(more).planned.cacheWriteTtl).toBe(ttl);
  });

  test('is priced by the region, tier and speed that it asks for, and by the dearest region where it asks for none', () => {
    expect(asked({}).planned).toEqual({ modifiers: { inferenceGeo: 'us' } });
    expect(asked({ inference_geo: 'global', service_tier: 'standard_only', speed: 'fast' }).planned).toEqual({
      modifiers: { speed: 'fast' },
    });
    expect(amount({})).toBeGreaterThan(amount({ inference_geo: 'global' }));
    expect(() => amount({ inference_geo: 'mars' })).toThrow(/no rate for inferenceGeo "mars"/);
  });

  test('with an image, a PDF or what is not known has to be counted by its provider', () => {
    const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'AAAA' } };
    const inside = { type: 'tool_result', tool_use_id: 't', content: [image] };
    const pdf = { type: 'document', source: { type: 'base64', data: 'AAAA' } };
    for (const block of [image, inside, pdf, { type: 'of_tomorrow' }])
      expect(asked({ messages: [{ role: 'user', content: [block] }] }).mustBeCounted).toBe(true);
    const text = { type: 'document', source: { type: 'text', data: 'a'.repeat(1_000) } };
    const plain = asked({ messages: [{ role: 'user', content: [text] }] });
    expect(plain.mustBeCounted).toBe(false);
    expect(plain.inputTokens).toBeGreaterThan(1_000);
  });

  const address = { type: 'url', url: 'https://example.com/a' };
  const image = { type: 'image', source: address };
  test.each([
    ['an image by its address', image, '"url"'],
    ['a document by its address', { type: 'document', source: address }, '"url"'],
    ['a file that the provider keeps', { type: 'image', source: { type: 'file', file_id: 'file_1' } }, '"file"'],
    [
      'one of a type that is another’s',
      { type: 'document', source: { type: 'text', data: '', file_id: 'f' } },
      'file_id',
    ],
    ['an address in the result of a tool', { type: 'tool_result', tool_use_id: 't', content: [image] }, '"url"'],
    ['an address in a document', { type: 'document', source: { type: 'content', content: [image] } }, '"url"'],
    ['an address in what is not known', { type: 'of_tomorrow', inner: [[{ more: image }]] }, '"url"'],
    ['an address beside a text', { type: 'text', text: 'a', more: address }, '"url"'],
    ['a source that is not known', { type: 'image', source: { type: 'of_tomorrow' } }, '"of_tomorrow"'],
  ])('with %s is refused by its name: what is counted need not be what is called', (_what, block, name) => {
    expect(() => asked({ messages: [{ role: 'user', content: [block] }] })).toThrow(name);
    expect(() => asked({ system: [block] })).toThrow(name);
  });

  test('may speak of addresses and files, in what a model wrote for a tool and in what it cites', () => {
    const content = [
      { type: 'tool_use', id: 't', name: 'n', input: { file_id: 'f', source: address, ...address } },
      { type: 'text', text: 'a', citations: [{ type: 'char_location', cited_text: 'a', file_id: null }] },
      { type: 'search_result', source: 'https://example.com', title: 't', content: [{ type: 'text', text: 'a' }] },
    ];
    expect(() => asked({ messages: [{ role: 'assistant', content }] })).not.toThrow();
  });

  test('may clear what is old, use tools that run at its own side, and leave fields open by null', () => {
    const tools = [
      { type: 'bash_20250124', name: 'bash' },
      { type: 'custom', name: 'n', input_schema: {} },
      { name: 'm', input_schema: {} },
    ];
    const edits = [{ type: 'clear_tool_uses_20250919' }];
    expect(() => asked({ tools, context_management: { edits }, mcp_servers: null, speed: null })).not.toThrow();
  });
});

describe('a body', () => {
  const parse = (text: string): unknown => askedIn(Buffer.from(text));

  test('that has each name once in each object is taken, whatever it says', () => {
    const value = fc.jsonValue({ maxDepth: 5 });
    fc.assert(
      fc.property(fc.dictionary(fc.string(), value), (body) => {
        expect(parse(JSON.stringify(body, null, 1))).toEqual(JSON.parse(JSON.stringify(body)));
      }),
    );
    expect(parse('{"a":[{"b":"c:\\"d\\":"},{"b":1}],"__proto__":{"a":1}}')).toMatchObject({ a: [{}, { b: 1 }] });
  });

  test('that is no UTF-8 is refused', () => {
    const bytes = Buffer.concat([Buffer.from('{"a":"'), Buffer.from([0xc3, 0x28]), Buffer.from('"}')]);
    expect(() => askedIn(bytes)).toThrow(/not UTF-8/);
  });

  test('whose client had gone before it was read is not waited for', async () => {
    const request = new IncomingMessage(new Socket());
    request.on('error', () => undefined).destroy();
    await new Promise((resolve) => setImmediate(resolve));
    await expect(readBody(request)).rejects.toThrow(/ended before the request had come whole/);
  });

  test.each(['{"a":1,"a":2}', '{"b":{"a":1,"\\u0061":2}}', '{"x":[{"__proto__":1,"__proto__":2}]}'])(
    'that names something twice is refused: %s',
    (text) => {
      expect(() => parse(text)).toThrow(/twice/);
    },
  );

  test.each(['', '1', '"a"', 'null', '[1]', '{', '{"a":1}}', '\ufeff{}'])(
    'that is no JSON object is refused: %s',
    (text) => {
      expect(() => parse(text)).toThrow(/no JSON|must be a JSON object/);
    },
  );
});
