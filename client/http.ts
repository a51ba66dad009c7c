/**
 * How whoever uses the API speaks to it, the command line and the dashboard too: requests that are safe to repeat, and event streams that
 * are taken up again. It runs in browsers as well.
 */
import { errorFrom, SpendlockApiError, UnreachableError } from './errors';
import { readEvents, unseen, type StreamEvent } from './events';
import { newUuid } from './ids';
import { Patience, pause, streamSilentMs } from './patience';

export interface SpendlockClientOptions {
  baseUrl: string;
  apiKey: string;
  /** How long an answer may take, all of it; eleven minutes when absent, for a reservation may wait for its tenant. */
  timeoutMs?: number;
  /** Told of each request, which `send` sends: for who has to know what is under way. */
  around?: (request: SentRequest, send: () => Promise<Response>) => Promise<Response>;
}

export interface SentRequest {
  method: string;
  /** The whole address. */
  to: string;
  /** Absent where there is none, or none that is text. */
  body?: string;
}

/** What a request may say beside its body. */
export interface RequestOptions {
  /** With an administration key: for which tenant. */
  tenantId?: string | undefined;
  /** A repeat with the same key never does a thing twice. Made up when absent. */
  idempotencyKey?: string | undefined;
  signal?: AbortSignal | undefined;
}

export type Query = Record<string, string | number | readonly string[] | undefined>;

export interface Http {
  get<T>(path: string, query?: Query): Promise<T>;
  text(path: string, query?: Query): Promise<string>;
  /** An answer of any size, as it comes. It is given up when nothing of it came for so long. */
  body(path: string, silentMs: number): Promise<ReadableStream<Uint8Array>>;
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
    options: {
      query?: Query;
      after?: number;
      signal?: AbortSignal | undefined;
      /** Told when the stream is open, and when it broke. */
      onState?: (isLive: boolean) => void;
    },
  ): AsyncGenerator<StreamEvent>;
}

/** How long an answer may take, all of it: longer than a tenant may let a reservation wait for its own. */
const answerMsDefault = 660_000;
/** A request whose answer was lost is sent again so often. */
const attemptsMax = 4;
/**
 * How long a repeat asks again while the first request of its key has not ended. A process that died in the middle of one keeps it
 * for 30 s; the repeat then goes on where that stopped.
 */
const inProgressPatienceMs = 60_000;

interface Sending extends RequestInit {
  headers?: Record<string, string>;
  /** The caller's own. */
  givenUp?: AbortSignal | undefined;
}

/** Whether a text can be a key at all: what cannot be sent would be told with its error. */
export const isApiKey = (text: string): boolean => /^[\x20-\x7e]*$/.test(text);

const asJson = async <T>(response: Response): Promise<T> => (await response.json()) as T;
const asItComes = (response: Response): Response => response;

export function connect(
  { baseUrl, apiKey, around = (_request, send) => send() }: SpendlockClientOptions,
  answerMs = answerMsDefault,
): Http {
  if (!isApiKey(apiKey)) throw new TypeError('apiKey is no API key: it has characters in it that no key has.');
  const authorization = `Bearer ${apiKey}`;
  const url = (path: string, query: Query = {}): string => {
    const given = Object.entries(query).flatMap(([name, value = []]) =>
      (typeof value === 'object' ? value : [String(value)]).map((one) => [name, one]),
    );
    return `${baseUrl}${path}${given.length === 0 ? '' : `?${new URLSearchParams(given as [string, string][]).toString()}`}`;
  };
  /** @throws UnreachableError, but where the caller has given it up: then the reason that it gave. */
  const send = async <T>(
    [method, to]: [string, string],
    read: (response: Response) => Promise<T> | T,
    { signal = AbortSignal.timeout(answerMs), givenUp, ...more }: Sending = {},
  ): Promise<T> => {
    const request = { method, to, ...(typeof more.body === 'string' ? { body: more.body } : {}) };
    try {
      const response = await around(request, () =>
        fetch(to, { ...more, signal, method, headers: { authorization, ...more.headers } }),
      );
      if (!response.ok) throw errorFrom(response.status, await bodyOf(response));
      return await read(response);
    } catch (error) {
      if (error instanceof SpendlockApiError || givenUp?.aborted) throw error;
      throw new UnreachableError({ method, to, cause: error });
    }
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
      return await send(['POST', url(path)], asJson<T>, {
        body: text,
        headers: { ...headers, 'idempotency-key': idempotencyKey },
        signal: patience.signal,
        givenUp: signal,
      });
    } finally {
      patience.end();
    }
  };

  return {
    get: <T>(path: string, query?: Query) => send(['GET', url(path, query)], asJson<T>),
    text: (path, query) => insist(() => send(['GET', url(path, query)], (response) => response.text())),
    async body(path, silentMs) {
      const patience = new Patience(silentMs);
      try {
        const { body } = await send(['GET', url(path)], asItComes, { signal: patience.signal });
        if (!body) throw new Error('The API answered with nothing.');
        return patience.of(body);
      } catch (error) {
        patience.end();
        throw error;
      }
    },
    put: <T>(path: string, body: object) => send(['PUT', url(path)], asJson<T>, json(body)),
    async post<T>(path: string, body: object, { idempotencyKey = newUuid(), ...options }: RequestOptions = {}) {
      return insist(() => sendOnce<T>(path, body, { idempotencyKey, ...options }), options.signal);
    },
    postByOperation: <T>(path: string, body: object) => insist(() => send(['POST', url(path)], asJson<T>, json(body))),
    events: (path, { query, ...options }) =>
      follow(
        (headers, signal) => send(['GET', url(path, query)], asItComes, { headers, signal, givenUp: options.signal }),
        options,
      ),
  };
}

/** The events of a stream, which is opened again after the last one seen when it breaks. */
async function* follow(
  open: (headers: Record<string, string>, signal: AbortSignal) => Promise<Response>,
  { after = 0, signal, onState = () => undefined }: Omit<Parameters<Http['events']>[1], 'query'>,
): AsyncGenerator<StreamEvent> {
  let lastId = after;
  const seen = new Map<string, number>();
  for (let failures = 0; ;) {
    const patience = new Patience(streamSilentMs, signal);
    try {
      const { body } = await open(lastId > 0 ? { 'last-event-id': String(lastId) } : {}, patience.signal);
      onState(true);
      for await (const event of body ? readEvents(patience.of(body)) : []) {
        failures = 0;
        if (event.id !== undefined && event.id <= lastId) continue;
        lastId = event.id ?? lastId;
        const fresh = event.type === 'delta' ? unseen(event, seen) : event;
        if (fresh) yield fresh;
        if (event.type === 'done') return;
      }
    } catch (error) {
      const passes = error instanceof SpendlockApiError && (isAway(error) || isPassing(error));
      if ((error instanceof SpendlockApiError && !passes) || signal?.aborted) throw error;
    } finally {
      patience.end();
    }
    onState(false);
    failures += 1;
    await pause(Math.min(200 * 2 ** failures, 5_000), signal);
  }
}

/** The API is away, or whoever stands before it says so. */
const isAway = ({ status }: SpendlockApiError): boolean => status >= 502 && status <= 504;

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
        await pause(500);
        continue;
      }
      attempts += 1;
      if ((answer && !isPassing(answer)) || attempts >= attemptsMax) throw error;
      await pause(answer ? (answer.retryAfterSeconds ?? 1) * 1_000 : 100 * 2 ** attempts);
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
