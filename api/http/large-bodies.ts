/**
 * Reading large bodies on a thread of its own: decoding and checking twenty megabytes takes most of a second, in which nobody else
 * would be answered. It is given the body piece by piece, as it comes, so that the whole of it is only there. What comes back is
 * the body without its file, and the file's bytes.
 */
import { Worker } from 'node:worker_threads';
import { ApiError } from './errors';

/** Smaller ones are read at once. */
export const largeBytes = 256 * 1024;
/** What may stand beside a file: other bodies are no longer either. Taking it apart must not be felt by whoever waits for the thread. */
export const restBytesMax = 2 * 1024 * 1024;
/** How long one that has come whole may take, those before it included. */
const readMaxMs = 20_000;

export interface LargeBody {
  /** JSON, in which the file's content is empty. */
  text: string;
  file?: { content: Buffer; sha256: string } | undefined;
}

/**
 * Plain JavaScript, so that a thread needs no compiler, wherever the product runs from. Where a thread has a priority of its own, that
 * of requests is higher.
 */
const threadSource = `
const { parentPort } = require('node:worker_threads');
const { createHash } = require('node:crypto');
if (process.platform === 'linux') require('node:os').setPriority(10);
const pieces = new Map();
// Without its longest text between two quotes, where that may be a file's content: it costs next to nothing to take apart.
function restLength(whole) {
  let longest = '';
  for (let from = whole.indexOf('"'), to; from >= 0 && (to = whole.indexOf('"', from + 1)) >= 0; from = to)
    if (to - from > longest.length) longest = whole.slice(from + 1, to);
  return /^[A-Za-z0-9+\\/=\\\\]*$/.test(longest) ? whole.length - longest.length : whole.length;
}
function read(id) {
  const bytes = Buffer.concat(pieces.get(id) ?? []);
  pieces.delete(id);
  const whole = new TextDecoder().decode(bytes);
  if (restLength(whole) > ${restBytesMax}) {
    parentPort.postMessage({ id, isTooLarge: true });
    return;
  }
  const body = JSON.parse(whole);
  const encoded = body && body.file && typeof body.file === 'object' ? body.file.contentBase64 : undefined;
  if (typeof encoded !== 'string' || !/^[A-Za-z0-9+/]*={0,2}$/.test(encoded)) {
    // A content that is wrong is so by its beginning too.
    if (typeof encoded === 'string') body.file.contentBase64 = encoded.slice(0, 1000) + '!';
    const text = JSON.stringify(body);
    parentPort.postMessage(text.length > ${restBytesMax} ? { id, isTooLarge: true } : { id, text });
    return;
  }
  const content = new Uint8Array(Buffer.from(encoded, 'base64'));
  const sha256 = createHash('sha256').update(content).digest('hex');
  body.file.contentBase64 = '';
  parentPort.postMessage({ id, text: JSON.stringify(body), content, sha256 }, [content.buffer]);
}
parentPort.on('message', ({ id, piece, isDropped }) => {
  if (isDropped) return void pieces.delete(id);
  if (piece) return void (pieces.has(id) ? pieces.get(id).push(piece) : pieces.set(id, [piece]));
  try {
    read(id);
  } catch (error) {
    parentPort.postMessage({ id, problem: error.message });
  }
});
`;

interface FromThread {
  id: number;
  text?: string;
  content?: Uint8Array;
  sha256?: string;
  problem?: string;
  isTooLarge?: boolean;
}

interface PendingBody {
  resolve: (body: LargeBody) => void;
  reject: (error: Error) => void;
}

let thread: Worker | undefined;
let lastId = 0;
const waiting = new Map<number, PendingBody>();

function ended(ofThread: Worker): void {
  if (thread !== ofThread) return;
  thread = undefined;
  for (const { reject } of waiting.values()) reject(unread());
  waiting.clear();
}

const unread = (): ApiError =>
  new ApiError('unavailable', 'The body could not be read in time. Nothing of it was stored.');

const tooLargeBeside = (): ApiError =>
  new ApiError(
    'payload_too_large',
    `The body is larger than ${restBytesMax} bytes beside file.contentBase64, which has to be base64 without line breaks or a prefix. Nothing was stored.`,
  );

function startThread(): Worker {
  const started = new Worker(threadSource, { eval: true, execArgv: [] });
  started.on('message', ({ id, text = '', content, sha256 = '', problem, isTooLarge }: FromThread) => {
    const asked = waiting.get(id);
    if (problem !== undefined)
      asked?.reject(new ApiError('invalid_json', `The body is not JSON: ${problem}. Nothing was done.`));
    else if (isTooLarge) asked?.reject(tooLargeBeside());
    else asked?.resolve({ text, file: content && { content: Buffer.from(content.buffer), sha256 } });
  });
  started.on('error', () => ended(started));
  started.on('exit', () => ended(started));
  // Last, since listening to it would keep the process again.
  started.unref();
  return started;
}

/** @throws ApiError `invalid_json`, or `unavailable` when it takes too long; what the reading of its pieces throws. */
export async function readLarge(pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): Promise<LargeBody> {
  thread ??= startThread();
  const reader = thread;
  const id = (lastId += 1);
  const read = new Promise<LargeBody>((resolve, reject) => waiting.set(id, { resolve, reject }));
  // The thread may end before the last piece has come.
  read.catch(() => undefined);
  let timer: NodeJS.Timeout | undefined;
  try {
    for await (const piece of pieces) {
      // What came is part of a larger buffer, which is not given away.
      const own = new Uint8Array(piece);
      reader.postMessage({ id, piece: own }, [own.buffer]);
    }
    // One that hangs is ended with all that wait for it, and another begun for those who come.
    timer = setTimeout(() => {
      ended(reader);
      void reader.terminate();
    }, readMaxMs);
    reader.postMessage({ id });
    return await read;
  } catch (error) {
    reader.postMessage({ id, isDropped: true });
    throw error;
  } finally {
    clearTimeout(timer);
    waiting.delete(id);
  }
}
