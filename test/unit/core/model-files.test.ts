/** What a file is, and which model is shown it. */
import { mediaTypeOf, problemOfFile } from '../../../core/agent/model-files';

const png = (bytes = 33): Buffer => {
  const image = Buffer.alloc(bytes);
  image.write('\x89PNG\r\n\x1a\n', 0, 'latin1');
  image.writeUInt32BE(13, 8);
  image.write('IHDR', 12, 'latin1');
  image.writeUInt32BE(640, 16);
  image.writeUInt32BE(480, 20);
  return image;
};
const pdf = Buffer.from('%PDF-1.7\n');

describe('a file', () => {
  test.each<[Buffer, string | undefined]>([
    [png(), 'image/png'],
    [pdf, 'application/pdf'],
    [Buffer.from([0xff, 0xd8, 0xff, 0xe0]), 'image/jpeg'],
    [Buffer.from('GIF89a'), 'image/gif'],
    [Buffer.from('RIFF....WEBPVP8 '), 'image/webp'],
    [Buffer.from('RIFF....WAVE'), undefined],
    [Buffer.from('a,b\n1,2\n'), undefined],
    [Buffer.alloc(0), undefined],
  ])('%s is told by its first bytes', (content, type) => expect(mediaTypeOf(content)).toBe(type));

  const problem = (model: string, content: Buffer): string | undefined => {
    const provider = model.startsWith('claude') ? 'anthropic' : model.startsWith('gemini') ? 'google' : 'openai';
    return problemOfFile({ provider, model }, { name: 'it', mediaType: mediaTypeOf(content) ?? '', content });
  };
  test.each<[string, Buffer]>([
    ['claude-3-haiku-20240307', png()],
    ['claude-haiku-4-5', pdf],
    ['claude-sonnet-5', Buffer.from('GIF89a')],
    ['gpt-4-turbo', png()],
    ['gpt-5.1', pdf],
    ['gemini-2.0-flash', png()],
    ['gemini-3.5-flash', pdf],
  ])('is shown to %s', (model, content) => expect(problem(model, content)).toBeUndefined());

  test.each<[string, Buffer, RegExp]>([
    [
      'claude-3-haiku-20240307',
      pdf,
      /it is of the type application\/pdf, which claude-3-haiku-20240307 does not take. It takes image\/png, /,
    ],
    [
      'claude-haiku-4-5',
      png(3_750_001),
      /it has 3750001 bytes; of the type image\/png claude-haiku-4-5 takes at most 3750000/,
    ],
    ['gpt-3.5-turbo', png(), /It takes text\.$/],
    ['o3-mini', png(), /It takes text\.$/],
    ['gpt-4-turbo', pdf, /It takes image\/png, image\/jpeg, image\/webp, text\.$/],
    ['gemini-3.5-flash', Buffer.from('GIF89a'), /does not take/],
    ['gemini-2.5-flash', png().subarray(0, 20), /no width and height that can be read/],
    ['gemini-2.5-flash', png(14_000_001), /takes at most 14000000/],
  ])('is refused for %s by name', (model, content, says) => expect(problem(model, content)).toMatch(says));
});
