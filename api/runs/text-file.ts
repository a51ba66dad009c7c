/**
 * What a file must be that comes with a run and is no image or PDF, which its model is shown (core/agent/model-files.ts): text, in UTF-8,
 * an encoding that has ASCII in it, or UTF-16 with its mark, which becomes UTF-8. A program reads it and the model is told what the program
 * read; of anything else that would be paid for and be of no use to anybody.
 */
import { isUtf8 } from 'node:buffer';
import { setImmediate as others } from 'node:timers/promises';

const inUtf8 = (encoding: string): string => `Save it in UTF-8 (by a command: iconv -f ${encoding} -t UTF-8 OLD > NEW)`;

/** Files that begin with these bytes are something else, whatever follows. */
const beginnings: [bytes: number[], what: string, advice: string][] = [
  [[0x50, 0x4b, 0x03, 0x04], 'a ZIP archive, as XLSX and DOCX are', 'Save it as CSV or as plain text'],
  [[0x50, 0x4b, 0x05, 0x06], 'an empty ZIP archive', 'Save it as CSV or as plain text'],
  [[0xd0, 0xcf, 0x11, 0xe0], 'a document of an office program, such as XLS', 'Save it as CSV or as plain text'],
  [[0x1f, 0x8b], 'compressed by gzip', 'Unpack it'],
  [[0xff, 0xfe, 0x00, 0x00], 'in UTF-32', inUtf8('UTF-32')],
  [[0x00, 0x00, 0xfe, 0xff], 'in UTF-32', inUtf8('UTF-32')],
];

/** Text that says which encoding of two bytes it has, as spreadsheets on Windows write it. */
const marked: [bytes: number[], encoding: string][] = [
  [[0xff, 0xfe], 'utf-16le'],
  [[0xfe, 0xff], 'utf-16be'],
];

/** How much of a file tells in which half of each pair of bytes its zeros are. */
const sampleBytes = 4_096;

/** How much of a file is looked through at a stretch: nobody else is served meanwhile. */
const stretchBytes = 1024 * 1024;

export interface NamedFile {
  name: string;
  content: Buffer;
}

/** The file as it is kept: as it came, or in UTF-8. Where it is no text: why, and what to do, as two sentences. */
export async function readText({ name, content }: NamedFile): Promise<NamedFile | { why: string }> {
  const none = (what: string, advice: string): { why: string } => ({
    why: `${name} is no text that can be read: it is ${what}. ${advice}.`,
  });
  const begins = ([bytes]: [bytes: number[], ...unknown[]]): boolean => bytes.every((byte, at) => content[at] === byte);
  const found = beginnings.find(begins);
  if (found) return none(found[1], found[2]);
  const encoding = marked.find(begins)?.[1];
  if (encoding !== undefined) {
    const text = await decode(content, encoding);
    if (text === undefined) return none('in UTF-16 that is broken', 'Save it once more, in UTF-8');
    return text.includes(0) || (await hasControl(text)) ? none('binary', 'Send text') : { name, content: text };
  }
  if (content.includes(0)) {
    const order = orderOf(content);
    return order === undefined ? none('binary', 'Send text') : none('in UTF-16', inUtf8(order));
  }
  return isUtf8(content) || !(await hasControl(content)) ? { name, content } : none('binary', 'Send text');
}

/** Its text in UTF-8, without the mark; undefined when it is broken. */
async function decode(content: Buffer, encoding: string): Promise<Buffer | undefined> {
  const decoder = new TextDecoder(encoding, { fatal: true });
  const pieces: Buffer[] = [];
  try {
    for (let from = 0; from < content.length; from += stretchBytes) {
      if (from > 0) await others();
      pieces.push(Buffer.from(decoder.decode(content.subarray(from, from + stretchBytes), { stream: true })));
    }
    pieces.push(Buffer.from(decoder.decode()));
  } catch {
    return undefined;
  }
  return Buffer.concat(pieces);
}

/** In which order, without a mark at its beginning: text in Latin letters has a zero in one half of nearly each pair. */
function orderOf(content: Uint8Array): 'UTF-16LE' | 'UTF-16BE' | undefined {
  // Two bytes a letter, or four.
  if (content.length % 2 === 1) return undefined;
  const zeros: [number, number] = [0, 0];
  const sample = content.subarray(0, sampleBytes);
  for (const [at, byte] of sample.entries()) if (byte === 0) zeros[at % 2 === 0 ? 0 : 1] += 1;
  const [few, many] = [Math.min(...zeros), Math.max(...zeros)];
  if (many <= sample.length / 4 || few >= many / 10) return undefined;
  return zeros[0] === many ? 'UTF-16BE' : 'UTF-16LE';
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
