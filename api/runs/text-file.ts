/**
 * What a file must be that comes with a run: text, in UTF-8 or an encoding that has ASCII in it. A program reads it and the
 * model is told what the program read; of anything else that would be paid for and be of no use to anybody.
 */
import { isUtf8 } from 'node:buffer';
import { setImmediate as others } from 'node:timers/promises';

/** Files that begin with these bytes are something else, whatever follows. */
const beginnings: [bytes: number[], what: string, advice: string][] = [
  [[0x50, 0x4b, 0x03, 0x04], 'a ZIP archive, as XLSX and DOCX are', 'Save it as CSV or as plain text'],
  [[0x50, 0x4b, 0x05, 0x06], 'an empty ZIP archive', 'Save it as CSV or as plain text'],
  [[0xd0, 0xcf, 0x11, 0xe0], 'a document of an office program, such as XLS', 'Save it as CSV or as plain text'],
  [[0x25, 0x50, 0x44, 0x46, 0x2d], 'a PDF', 'Save its text'],
  [[0x1f, 0x8b], 'compressed by gzip', 'Unpack it'],
  [[0x89, 0x50, 0x4e, 0x47], 'an image', 'Send text'],
  [[0xff, 0xd8, 0xff], 'an image', 'Send text'],
  [[0x47, 0x49, 0x46, 0x38], 'an image', 'Send text'],
  [[0xff, 0xfe, 0x00, 0x00], 'in UTF-32', 'Save it in UTF-8'],
  [[0xff, 0xfe], 'in UTF-16', 'Save it in UTF-8'],
  [[0xfe, 0xff], 'in UTF-16', 'Save it in UTF-8'],
];

/** How much of a file tells in which half of each pair of bytes its zeros are. */
const sampleBytes = 4_096;

/** How much of a file is looked through at a stretch: nobody else is served meanwhile. */
const stretchBytes = 1024 * 1024;

/** Why a file is no text, and what to do, as two sentences; undefined when it is text. */
export async function whyNoText({ name, content }: { name: string; content: Uint8Array }): Promise<string | undefined> {
  const say = (what: string, advice: string): string =>
    `${name} is no text that can be read: it is ${what}. ${advice}.`;
  const found = beginnings.find(([bytes]) => bytes.every((byte, at) => content[at] === byte));
  if (found) return say(found[1], found[2]);
  if (content.includes(0)) return isUtf16(content) ? say('in UTF-16', 'Save it in UTF-8') : say('binary', 'Send text');
  return isUtf8(content) || !(await hasControl(content)) ? undefined : say('binary', 'Send text');
}

/** Without a mark at its beginning: text in Latin letters has a zero in one half of nearly each pair. */
function isUtf16(content: Uint8Array): boolean {
  const zeros: [number, number] = [0, 0];
  const sample = content.subarray(0, sampleBytes);
  for (const [at, byte] of sample.entries()) if (byte === 0) zeros[at % 2 === 0 ? 0 : 1] += 1;
  const [few, many] = [Math.min(...zeros), Math.max(...zeros)];
  return many > sample.length / 4 && few < many / 10;
}

async function hasControl(content: Uint8Array): Promise<boolean> {
  for (let from = 0; from < content.length; from += stretchBytes) {
    if (from > 0) await others();
    const end = Math.min(content.length, from + stretchBytes);
    // Counted by hand: an iterator, or a function for each byte, takes five times as long.
    for (let at = from; at < end; at += 1) if (isControl(content[at] ?? 0)) return true;
  }
  return false;
}

/** No letter in any encoding of text: all below the blank but tabs, ends of lines and pages, backspace and escape. */
const isControl = (byte: number): boolean => byte < 32 && !(byte >= 8 && byte <= 13) && byte !== 27;
