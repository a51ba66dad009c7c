import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { readText } from '../../../api/runs/text-file';

const read = (content: Uint8Array) => readText({ name: 'orders.csv', content: Buffer.from(content) });
async function why(content: Uint8Array): Promise<string | undefined> {
  const found = await read(content);
  return 'why' in found ? found.why : undefined;
}
const csv = 'id,name,amount\n1,Zoë,3\n2,Ada,4\n';
const swapped = (text: string): Buffer => Buffer.from(text, 'utf16le').swap16();
const marked = (content: Buffer, ...mark: number[]): Buffer => Buffer.concat([Buffer.from(mark), content]);

describe('XE1: a file that comes with a run', () => {
  test.each([
    [
      'UTF-16 without a mark',
      Buffer.from(csv, 'utf16le'),
      'in UTF-16. Save it in UTF-8 (by a command: iconv -f UTF-16LE -t',
    ],
    ['the same the other way round', swapped(csv), 'in UTF-16. Save it in UTF-8 (by a command: iconv -f UTF-16BE -t'],
    [
      'UTF-16 that breaks off',
      marked(Buffer.from(csv, 'utf16le').subarray(1), 0xff, 0xfe),
      'in UTF-16 that is broken.',
    ],
    ['three bytes with a zero among them', Buffer.from('a\0b'), 'binary.'],
    ['UTF-16 with a zero in it', marked(Buffer.from('a\0b', 'utf16le'), 0xff, 0xfe), 'binary.'],
    ['UTF-32', Buffer.from('fffe000061000000', 'hex'), 'in UTF-32. Save it in UTF-8 (by a command: iconv -f UTF-32 -t'],
    ['an XLSX', Buffer.from('504b0304140006000800', 'hex'), 'a ZIP archive, as XLSX and DOCX are. Save it as CSV'],
    ['an XLS', Buffer.from('d0cf11e0a1b11ae1', 'hex'), 'such as XLS. Save it as CSV'],
    ['gzip', gzipSync(csv), 'compressed by gzip. Unpack it.'],
    ['a program', Buffer.from('7f454c460201010000000000', 'hex'), 'binary.'],
    ['text with one zero in it', Buffer.from(`${csv}\0`), 'binary.'],
    ['bytes that are no letters', Buffer.from([0x80, 0x81, 0x01, 0xfe, 0x02]), 'binary.'],
  ])('%s is said to be none, by name', async (_what, content, said) => {
    expect(await why(content)).toMatch(/^orders\.csv is no text that can be read: it is /);
    expect(await why(content)).toContain(said);
  });

  test.each([
    ['nothing', Buffer.alloc(0)],
    ['UTF-8', Buffer.from(csv)],
    ['UTF-8 with its mark', marked(Buffer.from(csv), 0xef, 0xbb, 0xbf)],
    ['Latin-1', Buffer.from(csv, 'latin1')],
    ['Windows’ quotation marks', Buffer.from([0x93, 0x41, 0x94, 0x0d, 0x0a])],
    ['a terminal’s log', Buffer.from('\u001b[31mred\u001b[0m\b\f\n')],
  ])('%s is text', async (_what, content) => expect(await why(content)).toBeUndefined());

  test.each([
    ['as Windows writes it', marked(Buffer.from(csv, 'utf16le'), 0xff, 0xfe)],
    ['the other way round', marked(swapped(csv), 0xfe, 0xff)],
  ])('XE16: UTF-16 with its mark, %s, is kept as the same text in UTF-8, without the mark', async (_how, content) => {
    expect(await read(content)).toEqual({ name: 'orders.csv', content: Buffer.from(csv) });
  });

  test('XE16: a character that lies across two stretches is read whole', async () => {
    const text = `${'a'.repeat(512 * 1024 - 2)}😀ü`;
    expect(await read(marked(Buffer.from(text, 'utf16le'), 0xff, 0xfe))).toEqual({
      name: 'orders.csv',
      content: Buffer.from(text),
    });
  });

  test('what is taken never has a zero in it, and all text without one is taken', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (content) => {
        const found = await read(content);
        return 'why' in found || !found.content.includes(0);
      }),
    );
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary' }), async (text) => {
        const plain = text.replaceAll('\0', '');
        fc.pre(!/^PK/.test(plain));
        return (await why(Buffer.from(plain))) === undefined;
      }),
    );
  });

  test('a large file is looked through in stretches, and others are served between them', async () => {
    const content = Buffer.alloc(20 * 1024 * 1024, 0xe4);
    let turns = 0;
    const turn = setInterval(() => (turns += 1), 0);
    expect(await why(content)).toBeUndefined();
    content[content.length - 1] = 1;
    expect(await why(content)).toContain('binary.');
    clearInterval(turn);
    expect(turns).toBeGreaterThan(10);
  });
});
