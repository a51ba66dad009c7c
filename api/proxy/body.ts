/** The body of a request that is passed on: read whole, for what it asks is looked at, and never changed. */
import type { IncomingMessage } from 'node:http';
import { isRecord } from '../../core/prices/usage';
import { ApiError } from '../http/errors';

/** As large as providers take them. */
const bodyBytesMax = 32 * 1024 * 1024;
/** Bodies deeper than this, or of more names and values, are refused: what reads them could not go so far. */
const depthMax = 100;
const marksMax = 2_000_000;

const tooLarge = (): ApiError =>
  new ApiError('payload_too_large', `The body is larger than ${bodyBytesMax} bytes. No call was made.`, {
    action: 'Send less in one request: fewer or smaller images and documents.',
  });
const wrong = (message: string): ApiError => new ApiError('invalid_request', `${message} No call was made.`);

/** How long a body says that it is; the longest that it may be where it does not. @throws ApiError `payload_too_large`. */
export function saidBytes({ headers }: IncomingMessage): number {
  if (headers['content-length'] === undefined) return headers['transfer-encoding'] === undefined ? 0 : bodyBytesMax;
  const bytes = Number(headers['content-length']);
  if (bytes > bodyBytesMax) throw tooLarge();
  return bytes;
}

/** @throws ApiError when it is too long, or its client goes. */
export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const encoding = request.headers['content-encoding'];
  if (encoding !== undefined && !/^(identity)?$/i.test(encoding.trim()))
    throw new ApiError('unsupported_media_type', 'The body is compressed; it is taken as it is. No call was made.');
  const brokenOff = (): ApiError => wrong('The connection ended before the request had come whole.');
  // Nothing more would be heard of one that has ended already.
  if (request.destroyed) throw brokenOff();
  const parts: Buffer[] = [];
  let bytes = 0;
  try {
    await new Promise<void>((resolve, reject) => {
      request.on('data', (part: Buffer) => {
        bytes += part.length;
        if (bytes > bodyBytesMax) reject(tooLarge());
        else parts.push(part);
      });
      request.once('end', resolve);
      request.once('close', () => reject(brokenOff()));
      request.once('error', () => reject(brokenOff()));
    });
    return Buffer.concat(parts);
  } finally {
    // Who listens has them as long as the request lasts.
    parts.length = 0;
  }
}

/**
 * What a body asks. A name that stands twice in an object is refused: who reads it first and who reads it last would see two different
 * requests, and the dearer one might be the provider's.
 * @throws ApiError `invalid_request`.
 */
export function askedIn(bytes: Buffer): Record<string, unknown> {
  const names = namesIn(bytes);
  const text = textOf(bytes);
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw wrong('The body is no JSON.');
  }
  if (!isRecord(body)) throw wrong('The body must be a JSON object.');
  if (countNames(body) !== names) throw wrong('The body has a name twice in one object.');
  return body;
}

/** What is no UTF-8 may be read in more than one way. @throws ApiError. */
function textOf(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw wrong('The body is not UTF-8.');
  }
}

const code = { quote: 0x22, escape: 0x5c, colon: 0x3a, comma: 0x2c, open: [0x5b, 0x7b], close: [0x5d, 0x7d] } as const;

/** How many names a JSON text has, twice named or not. @throws ApiError where it is too deep, or has too much in it. */
function namesIn(bytes: Buffer): number {
  let [names, marks, depth, isText] = [0, 0, 0, false];
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at] as number;
    if (isText) {
      if (byte === code.escape) at += 1;
      else if (byte === code.quote) isText = false;
      continue;
    }
    if (byte === code.quote) isText = true;
    else if (byte === code.colon) names += 1;
    else if (byte === code.comma) marks += 1;
    else if (byte === code.open[0] || byte === code.open[1]) depth += 1;
    else if (byte === code.close[0] || byte === code.close[1]) depth -= 1;
    if (depth > depthMax) throw wrong(`The body is deeper than ${depthMax} levels.`);
  }
  if (names + marks > marksMax) throw wrong(`The body has more than ${marksMax} values.`);
  return names;
}

function countNames(body: object): number {
  let names = 0;
  for (let level: object[] = [body]; level.length > 0;) {
    const next: object[] = [];
    for (const value of level) {
      const inner: unknown[] = Object.values(value);
      if (!Array.isArray(value)) names += inner.length;
      for (const one of inner) if (typeof one === 'object' && one !== null) next.push(one);
    }
    level = next;
  }
  return names;
}
