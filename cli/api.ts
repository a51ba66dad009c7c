/** How the command line reaches the API. */
import { randomUUID } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Patience } from '../client/patience';
import { apiTarget } from './target';

/** The API said no, or could not be reached. The message says what to do. */
export class ApiCallError extends Error {}

export interface Api {
  get<T>(path: string): Promise<T>;
  send<T>(method: 'POST' | 'PUT', path: string, body: object): Promise<T>;
  /** Writes an answer of any size to a file that is not there yet. */
  download(path: string, file: string): Promise<void>;
}

/** How long an answer may take, and how long one of any size may pause. */
const answerMs = 120_000;
const silentMs = 60_000;

export function connect(): Api {
  const { apiUrl, apiKey } = apiTarget(process.env);
  async function ask(
    where: string,
    {
      headers,
      signal = AbortSignal.timeout(answerMs),
      ...init
    }: RequestInit & { headers?: Record<string, string> } = {},
  ) {
    const response = await fetch(`${apiUrl}${where}`, {
      ...init,
      signal,
      headers: { authorization: `Bearer ${apiKey}`, ...headers },
    }).catch((error: Error) => {
      throw new ApiCallError(
        `${apiUrl} cannot be reached (${error.cause instanceof Error ? error.cause.message : error.message}). Nothing is known to be done.`,
      );
    });
    if (response.ok) return response;
    const { error, message, action } = (await response.json()) as Record<string, string | undefined>;
    throw new ApiCallError([`${error}: ${message}`, action].filter(Boolean).join('\n'));
  }
  return {
    get: async (where) => (await ask(where)).json() as never,
    async send(method, where, body) {
      const headers = { 'content-type': 'application/json', 'idempotency-key': randomUUID() };
      return (await ask(where, { method, headers, body: JSON.stringify(body) })).json() as never;
    },
    async download(where, file) {
      const patience = new Patience(silentMs);
      const { body } = await ask(where, { signal: patience.signal });
      if (!body) throw new ApiCallError(`${apiUrl} answered with nothing.`);
      // For its owner alone: it holds what people said.
      const target = createWriteStream(file, { flags: 'wx', mode: 0o600 });
      await pipeline(Readable.fromWeb(patience.of(body) as never), target).finally(() => patience.end());
    },
  };
}
