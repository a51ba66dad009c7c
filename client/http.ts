/** How the client speaks to the API: requests that are safe to repeat, and event streams that are taken up again. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorFrom, SpendlockApiError } from './errors';
import { Patience, streamSilentMs } from './patience';

export interface SpendlockClientOptions {
  baseUrl: string;
  apiKey: string;
}

/** What a request may say beside its body. */
export interface RequestOptions {
  /** With an administration key: for which tenant. */
  tenantId?: string | undefined;
  /** A repeat with the same key never does a thing twice. Made up when absent. */
  idempotencyKey?: string | undefined;
  signal?: AbortSignal | undefined;
}

export interface StreamEvent {
  /** Its number in the run or conversation; pieces of replies and the end of a stream have none. */
  id?: number;
  type: string;
  data: Record<string, unknown>;
}

export type Query = Record<string, string | number | undefined>;

export interface Http {
  get<T>(path: string, query?: Query): Promise<T>;
  text(path: string, query?: Query): Promise<string>;
  /** Sent once. */
  put<T>(path: string, body: object): Promise<T>;
  /** Sent under an Idempotency-Key, and again when its answer was lost. */
  post<T>(path: string, body: object, options?: RequestOptions): Promise<T>;
  /** The same for what names its operation: that makes it idempotent, at no cost of a key. */
  postByOperation<T>(path: string, body: object): Promise<T>;
  /**
   * All events, to the end of what they tell of. A broken connection is taken up again after the last one seen, and in the
   * middle of a reply: nothing comes twice.
   */
  events(
    path: string,
    options: { query?: Query; after?: number; signal?: AbortSignal | undefined },
  ): AsyncGenerator<StreamEvent>;
}

/** How long an answer may take, all of it: longer than a tenant may let a reservation wait for its own. */
const answerMs = 660_000;
/** A request whose answer was lost is sent again so often. */
const attemptsMax = 4;
/**
 * How long a repeat asks again while the first request of its key has not ended. A process that died in the middle of one keeps it
 * for 30 s; the repeat then goes on where that stopped.
 */
const inProgressPatienceMs = 60_000;

export function connect({ baseUrl, apiKey }: SpendlockClientOptions): Http {
  const authorization = `Bearer ${apiKey}`;
  const url = (path: string, query: Query = {}): string => {
    const given = Object.entries(query).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, String(value)]],
    );
    return `${baseUrl}${path}${given.length === 0 ? '' : `?${new URLSearchParams(given as [string, string][]).toString()}`}`;
  };
  const send = async (
    method: string,
    to: string,
    { signal = AbortSignal.timeout(answerMs), ...more }: RequestInit & { headers?: Record<string, string> } = {},
  ) => {
    const response = await fetch(to, { ...more, signal, method, headers: { authorization, ...more.headers } });
    if (!response.ok) throw errorFrom(response.status, await bodyOf(response));
    return response;
  };
  const json = (body: object): { body: string; headers: Record<string, string> } => ({
    body: JSON.stringify(body),
    headers: { 'content-type': 'application/json' },
  });

  const sendOnce = async <T>(
    path: string,
    body: object,
    { idempotencyKey, signal }: RequestOptions & { idempotencyKey: string },
  ): Promise<T> => {
    const { body: text, headers } = json(body);
    const patience = new Patience(answerMs, signal);
    try {
      const response = await send('POST', url(path), {
        body: text,
        headers: { ...headers, 'idempotency-key': idempotencyKey },
        signal: patience.signal,
      });
      return (await response.json()) as T;
    } finally {
      patience.end();
    }
  };

  return {
    get: async <T>(path: string, query?: Query) => (await (await send('GET', url(path, query))).json()) as T,
    text: async (path, query) => insist(async () => (await send('GET', url(path, query))).text()),
    put: async <T>(path: string, body: object) => (await (await send('PUT', url(path), json(body))).json()) as T,
    async post<T>(path: string, body: object, { idempotencyKey = randomUUID(), ...options }: RequestOptions = {}) {
      return insist(() => sendOnce<T>(path, body, { idempotencyKey, ...options }), options.signal);
    },
    postByOperation: <T>(path: string, body: object) =>
      insist(async () => (await (await send('POST', url(path), json(body))).json()) as T),
    async *events(path, { query = {}, after = 0, signal }) {
      let lastId = after;
      const seen = new Map<string, number>();
      for (let failures = 0; ;) {
        const patience = new Patience(streamSilentMs, signal);
        try {
          const headers: Record<string, string> = lastId > 0 ? { 'last-event-id': String(lastId) } : {};
          const response = await send('GET', url(path, query), { headers, signal: patience.signal });
          for await (const event of response.body ? readEvents(patience.of(response.body)) : []) {
            failures = 0;
            if (event.id !== undefined && event.id <= lastId) continue;
            lastId = event.id ?? lastId;
            const fresh = event.type === 'delta' ? unseen(event, seen) : event;
            if (fresh) yield fresh;
            if (event.type === 'done') return;
          }
        } catch (error) {
          const passes = error instanceof SpendlockApiError && (error.status === 503 || isPassing(error));
          if ((error instanceof SpendlockApiError && !passes) || signal?.aborted) throw error;
        } finally {
          patience.end();
        }
        failures += 1;
        await sleep(Math.min(200 * 2 ** failures, 5_000), undefined, signal ? { signal } : {});
      }
    },
  };
}

/** Refused for now: there were too many, or too much is open. */
const isPassing = ({ code }: SpendlockApiError): boolean => code === 'rate_limited' || code === 'too_much_at_once';

/**
 * A request that is the same however often it is sent: sent again when its answer was lost, when there were too many, and while
 * the one before it is still being carried out.
 */
async function insist<T>(send: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  const giveUpMs = performance.now() + inProgressPatienceMs;
  for (let attempts = 0; ;) {
    try {
      return await send();
    } catch (error) {
      if (signal?.aborted) throw error;
      const answer = error instanceof SpendlockApiError ? error : undefined;
      if (answer?.code === 'idempotency_in_progress' && performance.now() < giveUpMs) {
        await sleep(500);
        continue;
      }
      attempts += 1;
      if ((answer && !isPassing(answer)) || attempts >= attemptsMax) throw error;
      await sleep(answer ? (answer.retryAfterSeconds ?? 1) * 1_000 : 100 * 2 ** attempts);
    }
  }
}

const bodyOf = async (response: Response): Promise<Record<string, unknown>> => {
  const text = await response.text();
  if (response.headers.get('content-type')?.includes('text/event-stream')) {
    // A denial as a stream: its first event has the body.
    const data = /^data: (.*)$/m.exec(text)?.[1];
    return data === undefined ? {} : (JSON.parse(data) as Record<string, unknown>);
  }
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return {};
  }
};

/** A piece without what was seen of it before its connection broke. */
function unseen(event: StreamEvent, seen: Map<string, number>): StreamEvent | undefined {
  const { operationId, position, text } = event.data as { operationId: string; position: number; text: string };
  const from = seen.get(operationId) ?? 0;
  const end = position + text.length;
  if (end <= from) return undefined;
  seen.set(operationId, end);
  const skip = Math.max(0, from - position);
  return { ...event, data: { operationId, position: position + skip, text: text.slice(skip) } };
}

/** Reads a stream of server-sent events. */
async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<StreamEvent> {
  const decoder = new TextDecoder();
  let buffered = '';
  for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) {
    buffered += decoder.decode(chunk, { stream: true });
    for (let end = buffered.indexOf('\n\n'); end >= 0; end = buffered.indexOf('\n\n')) {
      const block = buffered.slice(0, end);
      buffered = buffered.slice(end + 2);
      const fields = Object.fromEntries(
        block.split('\n').flatMap((line) => {
          const [, name, value] = /^(\w+): ?(.*)$/.exec(line) ?? [];
          return name === undefined ? [] : [[name, value ?? '']];
        }),
      ) as Record<string, string>;
      if (fields.data === undefined) continue;
      yield {
        ...(fields.id === undefined ? {} : { id: Number(fields.id) }),
        type: fields.event ?? 'message',
        data: JSON.parse(fields.data) as Record<string, unknown>,
      };
    }
  }
}
