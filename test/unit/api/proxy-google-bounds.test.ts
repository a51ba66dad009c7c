/** What the wire proxy makes of a request of Gemini's before it is passed on: what it can cost at most, and how it is counted. */
import fc from 'fast-check';
import { askedOf, countOf } from '../../../api/proxy/google/ask';
import { priceOfTest } from '../../support/proxy-prices';
import { frameOf, inline, jpegOf, pngOf, webPOf } from '../../support/images';

const price = priceOfTest('google', 'gemini-of-a-test', { serviceTier: { flex: '0.5' } });
const base = { contents: [{ role: 'user', parts: [{ text: 'Hello' }] }], generationConfig: { maxOutputTokens: 100 } };
const asked = (more: object = {}, of = price): ReturnType<typeof askedOf> => askedOf({ ...base, ...more }, of);
const config = (more: object): object => ({ generationConfig: { maxOutputTokens: 100, ...more } });
const said = (...parts: object[]): { contents: object[] } => ({ contents: [{ role: 'user', parts }] });
const pdf = { inlineData: { mimeType: 'application/pdf', data: 'AAAA' } };
const image = inline(pngOf(100, 100));

describe('a request of Gemini', () => {
  test('is bounded by no fewer tokens than its texts have bytes, wherever they stand', () => {
    const text = fc.string({ unit: 'grapheme', maxLength: 300 });
    fc.assert(
      fc.property(text, text, text, text, (system, words, output, description) => {
        const { inputTokens } = asked({
          system_instruction: { parts: [{ text: system }] },
          contents: [
            { role: 'user', parts: [{ text: words }] },
            { role: 'model', parts: [{ functionCall: { name: 'n', args: { words } }, thoughtSignature: 'c2ln' }] },
            { role: 'user', parts: [{ functionResponse: { name: 'n', response: { output } } }] },
            {
              role: 'user',
              parts: [{ inlineData: { mimeType: 'text/plain', data: Buffer.from(words).toString('base64') } }],
            },
          ],
          tools: [{ functionDeclarations: [{ name: 'n', description, parameters: { type: 'OBJECT' } }] }],
        });
        const all = [system, words, words, words, output, description];
        return inputTokens >= all.reduce((bytes, one) => bytes + Buffer.byteLength(one), 0);
      }),
    );
  });

  test('may be as long as its limit, in each of the answers that it asks for, however it thinks', () => {
    expect(asked().maxOutputTokens).toBe(100);
    expect(asked(config({ candidateCount: 5 })).maxOutputTokens).toBe(500);
    expect(asked(config({ thinkingConfig: { thinkingBudget: 5_000, includeThoughts: true } })).maxOutputTokens).toBe(
      100,
    );
    expect(asked({ generationConfig: { max_output_tokens: 70 } }).maxOutputTokens).toBe(70);
    expect(() => asked({ generationConfig: undefined })).toThrow(/maxOutputTokens/);
  });

  test('is priced by the tier that it asks for, and by no other', () => {
    expect(asked().planned).toEqual({ modifiers: {} });
    expect(asked({ serviceTier: 'standard' }).planned).toEqual({ modifiers: {} });
    expect(asked({ service_tier: 'SERVICE_TIER_FLEX' }).planned).toEqual({ modifiers: { serviceTier: 'flex' } });
  });

  test('of a model that answers with more than text is refused, whatever price it has', () => {
    expect(() => asked({}, priceOfTest('google', 'gemini-2.5-flash-image'))).toThrow(/more than text/);
    expect(() => asked({}, priceOfTest('google', 'gemini-2.5-flash-preview-tts'))).toThrow(/more than text/);
  });

  test('keeps the names that are a client’s own: those of arguments, answers and schemas', () => {
    const args = { user_id: 1, userId: 2 };
    const parts = [{ functionCall: { name: 'n', args } }, { functionResponse: { name: 'n', response: args } }];
    expect(() => asked(said(...parts))).not.toThrow();
    expect(() => asked(config({ responseJsonSchema: { properties: args } }))).not.toThrow();
    expect(() => asked({ ...said({ text: 'a' }), system_instruction: 'a', systemInstruction: 'b' })).toThrow(
      /spellings/,
    );
  });

  test.each<[string, object, RegExp]>([
    ['a video', said({ inlineData: { mimeType: 'video/mp4', data: 'AAAA' } }), /video.mp4/],
    ['a file in the answer of a function', said({ functionResponse: { parts: [{ file_data: {} }] } }), /fileData/],
    [
      'sound in the answer of a function',
      said({ functionResponse: { parts: [{ inlineData: { mimeType: 'audio/wav', data: '' } }] } }),
      /audio.wav/,
    ],
    ['a part that is not known', said({ of_tomorrow: {} }), /ofTomorrow/],
    ['a way to think that is not known', config({ thinkingConfig: { effort: 'more' } }), /effort/],
    ['data without a type', said({ inlineData: { data: 'AAAA' } }), /mimeType/],
    ['no contents', { contents: [] }, /contents/],
    [
      'a name that objects have by themselves',
      JSON.parse('{"generationConfig":{"__proto__":{"maxOutputTokens":1}}}') as object,
      /__proto__/,
    ],
    ['places on a map', { tools: [{ functionDeclarations: [] }, { google_maps: {} }] }, /googleMaps/],
  ])('with %s is refused by its name', (_what, more, names) => {
    expect(() => asked(more)).toThrow(names);
  });
});

describe('the count of a request of Gemini', () => {
  const tokens = (more: object, answer: object): unknown => countOf({ ...base, ...more }, price.model).tokensIn(answer);

  test('is asked for what is called: its instructions and tools too', () => {
    const body = {
      ...base,
      system_instruction: { parts: [] },
      tools: [{ function_declarations: [] }],
      safetySettings: [],
    };
    expect(countOf(body, 'm')).toMatchObject({
      path: '/v1beta/models/m:countTokens',
      body: {
        generateContentRequest: {
          model: 'models/m',
          contents: base.contents,
          systemInstruction: { parts: [] },
          tools: [{ functionDeclarations: [] }],
        },
      },
    });
  });

  test('has the most on top that its images and pages may take beyond it', () => {
    const text = tokens({}, { totalTokens: 10 }) as number;
    expect(text).toBeGreaterThanOrEqual(10);
    expect(tokens(said(image, image), { totalTokens: 10 })).toBe(text + 2 * 2_304);
    const details = [
      { modality: 'TEXT', tokenCount: 4 },
      { modality: 'DOCUMENT', tokenCount: 2_580 },
    ];
    expect(tokens(said(pdf), { totalTokens: 2_584, promptTokensDetails: details })).toBe(text - 10 + 4 + 3 * 2_580);
    expect(tokens(said(pdf), { totalTokens: 2_584 })).toBe(text - 10 + 3 * 2_584);
    const high = { ...pdf, media_resolution: { level: 'MEDIA_RESOLUTION_HIGH' } };
    expect(tokens(said(high), { totalTokens: 2_584 })).toBe(text - 10 + 5 * 2_584);
    // Enumerations come as numbers too, and what is not known may be higher.
    for (const media of [{ level: 3 }, { level: 'MEDIA_RESOLUTION_ULTRA_HIGH' }, { level: 1, num_tokens: 5_000 }])
      expect(tokens(said({ ...pdf, media_resolution: media }), { totalTokens: 2_584 })).toBe(text - 10 + 5 * 2_584);
    const number = { ...said(pdf), generationConfig: { maxOutputTokens: 1, mediaResolution: 3 } };
    expect(tokens(number, { totalTokens: 2_584 })).toBeGreaterThan(5 * 2_584);
    expect(tokens({}, { error: {} })).toBeUndefined();
  });

  describe('of an image before Gemini 3', () => {
    const old = 'gemini-2.5-flash';
    const text = countOf(base, old).tokensIn({ totalTokens: 10 }) as number;
    const of = (bytes: Buffer, model = old): number =>
      (countOf({ ...base, ...said(inline(bytes)) }, model).tokensIn({ totalTokens: 10 }) as number) - text;

    test('has as many tokens as its tiles where those are more, and no fewer than any image', () => {
      for (const [width, height] of [
        [1, 1],
        [384, 384],
        [960, 540],
      ] as const)
        expect(of(pngOf(width, height))).toBe(2_304);
      // 14 by 2 tiles of 768, 2 by 40, 152 by 2, and 10,000; and the whole.
      expect(of(pngOf(10_000, 1_152))).toBe(258 * 29);
      expect(of(pngOf(1_200, 30_000))).toBe(258 * 81);
      expect(of(pngOf(10_000, 100))).toBe(258 * 305);
      expect(of(pngOf(10_000, 1))).toBe(258 * 10_001);
      expect(of(pngOf(10_000, 100), 'gemini-3-pro-preview')).toBe(2_304);
    });

    test.each<[string, (width: number, height: number) => Buffer]>([
      ['PNG', pngOf],
      ['JPEG', jpegOf],
      ['WebP', webPOf('VP8 ')],
      ['WebP without loss', webPOf('VP8L')],
      ['WebP of several parts', webPOf('VP8X')],
    ])('is told by its own first bytes: %s', (_name, make) => {
      expect(of(make(10_000, 100))).toBe(258 * 305);
      expect(of(make(100, 10_000))).toBe(258 * 305);
      // It ends before it has said so.
      expect(() => of(make(10_000, 100).subarray(0, 14))).toThrow(/width and height/);
      expect(() => of(make(10_000, 0))).toThrow(/width and height/);
    });

    test('of several frames has the tokens of the largest', () => {
      const frames = [frameOf(100, 100), frameOf(10_000, 100), frameOf(200, 100)];
      const jpeg = (...parts: Buffer[]): Buffer => Buffer.concat([Buffer.from([0xff, 0xd8]), ...parts]);
      expect(of(jpeg(...frames))).toBe(258 * 305);
      // Forged: more than a picture has, and some that are no frames.
      const many = jpeg(Buffer.concat(Array.from({ length: 200_000 }, () => frameOf(100, 100))));
      expect(() => of(many)).toThrow(/width and height/);
      expect(() => of(jpeg(frameOf(100, 100, 2)))).toThrow(/width and height/);
      expect(() => of(jpeg(frameOf(100, 100), frameOf(100, 0)))).toThrow(/width and height/);
    });

    test('that has others in it, and one of whose sizes counts, is refused: HEIC', () => {
      // Its description has the size of another of its images.
      const box = (type: string, content: Buffer): Buffer =>
        Buffer.concat([Buffer.from([0, 0, 0, content.length + 8]), Buffer.from(type), content]);
      const ispe = box('ispe', Buffer.from([0, 0, 0, 0, 0, 0, 0, 100, 0, 0, 0, 100]));
      const heic = Buffer.concat([box('ftyp', Buffer.from('heicmif1')), box('meta', ispe)]);
      expect(() => of(heic)).toThrow(/a PNG, JPEG or WebP is needed/);
      expect(of(heic, 'gemini-3-flash')).toBe(2_304);
    });

    test('that is longer than can be counted is refused, and does not count for a provider that is away', () => {
      expect(() => asked(said(inline(pngOf(2_000_000_000, 1))))).toThrow(/more than can be counted/);
    });

    test('that nobody can read is refused', () => {
      for (const bytes of [Buffer.from('no image'), Buffer.alloc(0), Buffer.from('GIF89a')])
        expect(() => of(bytes)).toThrow(/No call was made|width and height/);
      expect(() => asked(said(inline(Buffer.from('no image'))))).toThrow(/width and height/);
      expect(of(Buffer.from('no image'), 'gemini-3-flash')).toBe(2_304);
    });
  });

  test('is needed where there is an image or a document', () => {
    expect([asked(said(image)), asked(said(pdf)), asked()].map(({ mustBeCounted }) => mustBeCounted)).toEqual([
      true,
      true,
      false,
    ]);
  });
});
