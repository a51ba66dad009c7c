/**
 * What comes in as a body, before any route sees it: whether there is room for it, that it is JSON, and that it can be kept.
 * Who sends it is known by then.
 */
import type { MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { ownerOf, type ApiContext, type ApiEnv } from './request';
import { ApiError, errorAnswer, type WrittenAnswer } from './errors';
import { BodyRoom } from './body-room';
import { largeBytes, readLarge, restBytesMax, type LargeBody } from './large-bodies';
import { LongBodyTurns } from './long-bodies';
import { fileBytesMax } from './schemas';

const MiB = 1024 * 1024;

/** One body, on the routes that take a file (base64 makes it a third larger), and on the others. */
const bodyLimits = { withFileBytes: Math.ceil(fileBytesMax * 1.4) + MiB, otherBytes: restBytesMax };

const takesFile = (path: string): boolean => path === '/v1/runs' || path === '/v1/conversations';

/**
 * Bodies of more values are refused: each costs its reader many times what it costs its sender. What has most of all that is asked for
 * is a list of a thousand prices, each with some twenty.
 */
const valuesMax = 32_000;

/** Bodies deeper than this are refused: nothing that is asked for is nearly as deep, and some that read it cannot go so far. */
const depthMax = 64;

/**
 * Admits bodies while there is room for them; one that does not say how long it is counts for the longest until it has come.
 * @throws ApiError `payload_too_large` or `too_much_at_once`, before anything of it is read.
 */
export function limitBodies(room = new BodyRoom()): MiddlewareHandler<ApiEnv> {
  const whileReading = {
    withFile: bodyLimit({ maxSize: bodyLimits.withFileBytes, onError: () => tooLarge(bodyLimits.withFileBytes) }),
    other: bodyLimit({ maxSize: bodyLimits.otherBytes, onError: () => tooLarge(bodyLimits.otherBytes) }),
  };
  return async (c, next) => {
    const file = takesFile(c.req.path);
    const maxBytes = file ? bodyLimits.withFileBytes : bodyLimits.otherBytes;
    const said = c.req.header('transfer-encoding') === undefined ? c.req.header('content-length') : undefined;
    const isOpen = said === undefined && !['GET', 'HEAD'].includes(c.req.method);
    const bytes = isOpen ? maxBytes : Number(said ?? 0);
    if (bytes > maxBytes) tooLarge(maxBytes);
    if (bytes === 0) return next();
    const owner = ownerOf(c.get('caller'));
    const requestId = c.get('requestId');
    const answerOf = (error: ApiError): WrittenAnswer => errorAnswer(error, requestId);
    const body = room.take({ owner, bytes, env: c.env, answerOf }) ?? full();
    try {
      // Reading through a counting stream costs most of a small request: only where nothing else says the length.
      if (!isOpen) return await next();
      return await (file ? whileReading.withFile : whileReading.other)(c, () => {
        body.isWhole();
        return next();
      });
    } finally {
      body.release();
    }
  };
}

function tooLarge(bytes: number): never {
  throw new ApiError('payload_too_large', `The body is larger than ${bytes} bytes. Nothing was stored.`);
}

function full(): never {
  const message = 'Bodies that are being read already take all the room there is. Nothing of this one was stored.';
  throw new ApiError('too_much_at_once', message, { retryAfter: 1 });
}

const jsonType = /^application\/([\w.-]+\+)?json$/i;

const longBodies = new LongBodyTurns();

/** Reads a body once, for all who ask for it later. @throws ApiError when it is no JSON that can be kept. */
export const readJson: MiddlewareHandler<ApiEnv> = async (c, next) => {
  if (c.req.url.includes('%00')) throw unstorable('The address');
  if (['POST', 'PUT'].includes(c.req.method)) {
    const isEmpty = c.req.path.endsWith('/cancel') && (await c.req.text()) === '';
    if (!isEmpty) {
      checkType(c);
      const { text, file } = await read(c);
      c.set('file', file);
      await longBodies.wait(ownerOf(c.get('caller')), text.length);
      const body = jsonFrom(text);
      c.req.json = <T>() => Promise.resolve(body as T);
    }
  }
  await next();
};

async function read(c: ApiContext): Promise<LargeBody> {
  const mayBeLarge = takesFile(c.req.path) && Number(c.req.header('content-length') ?? Infinity) >= largeBytes;
  if (!mayBeLarge) return { text: await c.req.text() };
  const coming = piecesOf(c);
  const first: Uint8Array[] = [];
  let bytes = 0;
  // One that does not say its length may be small.
  while (bytes < largeBytes) {
    const { done, value } = await coming.next();
    if (done) return { text: new TextDecoder().decode(Buffer.concat(first)) };
    first.push(value);
    bytes += value.length;
  }
  return readLarge(
    (async function* () {
      yield* first;
      yield* coming;
    })(),
  );
}

async function* piecesOf(c: ApiContext): AsyncGenerator<Uint8Array, void> {
  const { body } = c.req.raw;
  if (body) yield* body as unknown as AsyncIterable<Uint8Array>;
}

function checkType(c: ApiContext): void {
  const encoding = c.req.header('content-encoding')?.trim() ?? '';
  if (!/^(identity)?$/i.test(encoding)) {
    const message = `The body came with the Content-Encoding ${JSON.stringify(encoding)}; it is taken as it is. Nothing was done.`;
    throw new ApiError('unsupported_media_type', message, {
      action: 'Send it uncompressed, without Content-Encoding.',
    });
  }
  const type = c.req.header('content-type')?.split(';', 1)[0]?.trim() ?? '';
  if (jsonType.test(type)) return;
  if (type === '' && isWithoutBody(c)) {
    const action = 'Send a JSON object, `{}` where it has nothing to say, with `Content-Type: application/json`.';
    throw new ApiError('unsupported_media_type', 'The request came without a body. Nothing was done.', { action });
  }
  const came = type === '' ? 'without a Content-Type' : `as ${JSON.stringify(type)}`;
  throw new ApiError('unsupported_media_type', `The body came ${came}. Nothing was done.`);
}

const isWithoutBody = (c: ApiContext): boolean =>
  c.req.header('transfer-encoding') === undefined && Number(c.req.header('content-length') ?? 0) === 0;

function jsonFrom(text: string): unknown {
  if (hasManyValues(text)) {
    const message = `The body has more than ${valuesMax} values. Nothing was done.`;
    throw new ApiError('payload_too_large', message);
  }
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (error) {
    throw new ApiError('invalid_json', `The body is not JSON: ${(error as Error).message}. Nothing was done.`);
  }
  if (isDeep(body))
    throw new ApiError('invalid_request', `The body is nested more than ${depthMax} deep. Nothing was done.`);
  // Only what is written as an escape can be wrong, so that most bodies are not walked.
  if (/\\u(0000|d[89a-f])/i.test(text) && hasUnstorableText(body)) throw unstorable('The body');
  return body;
}

/** Whether there are too many, counted without taking the text apart: each but the first follows a comma or opens something. */
function hasManyValues(text: string): boolean {
  if (text.length <= valuesMax) return false;
  let values = 1;
  let isString = false;
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at];
    if (isString) {
      if (character === '\\') at += 1;
      else if (character === '"') isString = false;
    } else if (character === '"') isString = true;
    else if (character === ',' || character === '[' || character === '{') {
      values += 1;
      if (values > valuesMax) return true;
    }
  }
  return false;
}

const isContainer = (value: unknown): value is object => typeof value === 'object' && value !== null;

/** Level by level, so that a deep one is no deep recursion. */
function isDeep(body: unknown): boolean {
  let level = [body].filter(isContainer);
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth >= depthMax) return true;
    level = level.flatMap((value) => Object.values(value as Record<string, unknown>).filter(isContainer));
  }
  return false;
}

/** Characters that are none: Postgres cannot keep NUL, nor half of a surrogate pair. */
const hasUnstorableText = (value: unknown): boolean => {
  if (typeof value === 'string') return value.includes('\0') || /\p{Surrogate}/u.test(value);
  if (!isContainer(value)) return false;
  return Object.entries(value).some(([name, inner]) => hasUnstorableText(name) || hasUnstorableText(inner));
};

const unstorable = (what: string): ApiError =>
  new ApiError('invalid_request', `${what} has a character U+0000 or half of a surrogate pair. Nothing was done.`);

/** Why it failed, where the client went before the request had come whole. */
export const cutRequest = ({ env: { incoming } }: ApiContext): ApiError | undefined =>
  incoming?.destroyed && !incoming.complete
    ? new ApiError('invalid_request', 'The connection ended before the request had come whole. Nothing was done.')
    : undefined;
