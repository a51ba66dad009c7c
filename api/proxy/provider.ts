/**
 * One request to a provider of models, as its client sent it: the same body, the provider's key in the place of ours. Nothing is sent
 * again by itself, nobody is redirected, and its answer is handed on while it comes.
 */
import * as http from 'node:http';
import * as https from 'node:https';
import type { ErrorFacts } from '../../core/prices/call-failures';

/** How long a provider may take until it begins to answer, and between two pieces of an answer; and for what is free. */
export const providerWaits = { answerMs: 600_000, idleMs: 300_000, freeMs: 30_000, lastMs: 3_600_000 } as const;

/** An idle connection is given up before a provider does so: a request that meets its end would be one of which nobody knows. */
const idleConnectionMs = 4_000;
const agentOptions = { keepAlive: true, timeout: idleConnectionMs, maxFreeSockets: 256 };
/** In a process that stood still timers end before what came meanwhile is read: who is silent then is looked at once more after it. */
const lookAgainMs = 500;
const agents = { 'http:': new http.Agent(agentOptions), 'https:': new https.Agent(agentOptions) };

/** There was no answer. */
export class ProviderSilence extends Error {
  override readonly name = 'ProviderSilence';
  constructor(readonly facts: ErrorFacts) {
    super('The provider did not answer.');
  }
}

export interface ProviderRequest {
  url: URL;
  method: string;
  headers: Record<string, string>;
  body?: Buffer | undefined;
  /** Until it begins to answer. */
  answerMs: number;
  gone: AbortSignal;
  /** Its body was handed to the connection, and is no longer needed. */
  onSent?: (() => void) | undefined;
}

/** Its answer, of which the head is there. @throws ProviderSilence. */
export function askProvider(order: ProviderRequest): Promise<http.IncomingMessage> {
  const { url, method, headers, answerMs, gone, onSent } = order;
  // Whatever listens keeps what it can see, as long as the answer lasts.
  let unsent = order.body;
  return new Promise((resolve, reject) => {
    const isSecure = url.protocol === 'https:';
    const options = { method, headers, agent: agents[isSecure ? 'https:' : 'http:'] };
    let why: 'aborted' | 'timeout' | undefined;
    let isReached = false;
    let isAnswered = false;
    const timeout = answerMs;
    const request = isSecure ? https.request(url, { ...options, timeout }) : http.request(url, { ...options, timeout });
    const end = (reason: typeof why): void => {
      why ??= reason;
      request.destroy();
    };
    const leave = (): void => end('aborted');
    request.once('timeout', () => endWhenSilent(request, () => end('timeout')));
    request.once('socket', (socket) => {
      // One that was kept is connected; what is written to a new one leaves once that is.
      isReached = !socket.connecting;
      // Who waits for what has been keeps its request for as long as the connection lasts.
      if (!isReached) socket.once(isSecure ? 'secureConnect' : 'connect', () => (isReached = true));
    });
    request.once('finish', () => onSent?.());
    request.once('response', (answer) => {
      isAnswered = true;
      answer.once('close', () => gone.removeEventListener('abort', leave));
      resolve(answer);
    });
    const lost = (error?: Error): void => {
      gone.removeEventListener('abort', leave);
      onSent?.();
      if (isAnswered) return;
      const facts: ErrorFacts = why === undefined ? { kind: 'connection', error } : { kind: why };
      reject(new ProviderSilence(isReached ? facts : { kind: 'unreached' }));
    };
    request.on('error', lost);
    // Without an error it ends where its provider changes the protocol.
    request.once('close', () => lost());
    gone.addEventListener('abort', leave, { once: true });
    if (gone.aborted) leave();
    else request.end(unsent);
    unsent = undefined;
  });
}

/** Ends a request whose connection was silent for as long as it may be, once what came meanwhile is read; else after the next silence. */
function endWhenSilent(request: http.ClientRequest, end: () => void): void {
  const { socket } = request;
  const before = socket?.bytesRead;
  const look = (): void => {
    // Its connection may be another's by now.
    if (request.destroyed || !socket) return;
    if (socket.bytesRead === before) return end();
    const again = (): void => endWhenSilent(request, end);
    socket.once('timeout', again);
    // It may have been silent again by now, which it says once.
    socket.setTimeout(socket.timeout ?? 0);
    request.once('close', () => socket.off('timeout', again));
  };
  setTimeout(look, lookAgainMs).unref();
}

/** Of the connection between two processes, and not of what they say. */
const ofTheConnection = [
  ...['connection', 'keep-alive', 'proxy-authenticate', 'proxy-authorization', 'proxy-connection', 'te', 'trailer'],
  ...['transfer-encoding', 'upgrade'],
];
/** Of a request: who sends it, which is told anew, and what is of this process alone. */
const ofTheClient = [
  ...['host', 'content-length', 'expect', 'accept-encoding', 'cookie', 'authorization', 'x-api-key', 'x-goog-api-key'],
  ...['forwarded', 'via', 'x-real-ip', 'origin', 'referer', 'openai-organization', 'openai-project'],
  // Whose quota it is, another method, and a choice of what an answer has in it, such as its usage.
  ...['x-goog-user-project', 'x-http-method-override', 'x-goog-fieldmask'],
  // Of two tenants that choose the same, one would be answered what the other has bought.
  ...['idempotency-key', 'x-idempotency-key'],
];
const own = /^x-(spendlock|forwarded)-/;

/** The headers that are passed on to a provider. */
export function passedHeaders(
  headers: http.IncomingHttpHeaders,
  { keyHeaders, bytes }: { keyHeaders: Record<string, string>; bytes: number },
): Record<string, string> {
  const named = (headers.connection ?? '').split(',').map((name) => name.trim().toLowerCase());
  const passed: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || own.test(name) || named.includes(name)) continue;
    if (ofTheConnection.includes(name) || ofTheClient.includes(name)) continue;
    passed[name] = Array.isArray(value) ? value.join(', ') : value;
  }
  // What passes is read from the side: as it is, not compressed.
  return { ...passed, 'accept-encoding': 'identity', 'content-length': String(bytes), ...keyHeaders };
}

/** The headers of an answer that are passed on to a client, as names and values in their order. */
export function answeredHeaders(
  { rawHeaders }: http.IncomingMessage,
  { ownHeaders, apiKey, left }: { ownHeaders: RegExp; apiKey: string; left: readonly string[] },
): string[] {
  const never = [...ofTheConnection, 'set-cookie', 'alt-svc', 'location', ...left];
  const passed: string[] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const [said = '', value = ''] = [rawHeaders[at], rawHeaders[at + 1]];
    const name = said.toLowerCase();
    if (never.includes(name) || ownHeaders.test(name) || own.test(name) || value.includes(apiKey)) continue;
    passed.push(said, value);
  }
  return passed;
}

/**
 * An answer that is not passed on while it comes: an error, or one that comes at once. Undefined where it breaks off, is longer than there is
 * room for, or its provider falls silent.
 */
export async function wholeAnswer(
  answer: http.IncomingMessage,
  { bytesMax, idleMs, hasRoom }: { bytesMax: number; idleMs: number; hasRoom?: (bytes: number) => boolean },
): Promise<Buffer | undefined> {
  const parts: Buffer[] = [];
  let bytes = 0;
  answer.socket.setTimeout(idleMs);
  const last = setTimeout(() => answer.destroy(), providerWaits.lastMs);
  try {
    for await (const part of answer as AsyncIterable<Buffer>) {
      bytes += part.length;
      if (bytes > bytesMax || hasRoom?.(bytes) === false) return undefined;
      parts.push(part);
    }
  } catch {
    return undefined;
  } finally {
    clearTimeout(last);
    if (!answer.complete) answer.destroy();
  }
  return answer.complete ? Buffer.concat(parts) : undefined;
}
