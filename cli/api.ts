/** How the command line reaches the API: by the typed client's own requests, with refusals in words for a terminal. */
import { createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { SpendlockApiError } from '../client/errors';
import { connect as connectClient } from '../client/http';
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
  const http = connectClient({ baseUrl: apiUrl, apiKey }, answerMs);
  const inWords = (error: unknown): Error => {
    if (error instanceof SpendlockApiError) {
      const { code, message, action } = error;
      return new ApiCallError([`${code}: ${message}`, action].filter(Boolean).join('\n'));
    }
    if (!(error instanceof TypeError)) return error as Error;
    const why = error.cause instanceof Error ? error.cause.message : error.message;
    return new ApiCallError(`${apiUrl} cannot be reached (${why}). Nothing is known to be done.`);
  };
  const told = <T>(asked: Promise<T>): Promise<T> =>
    asked.catch((error: unknown) => {
      throw inWords(error);
    });
  return {
    get: (where) => told(http.get(where)),
    send: (method, where, body) => told(method === 'PUT' ? http.put(where, body) : http.post(where, body)),
    async download(where, file) {
      const body = await told(http.body(where, silentMs));
      // For its owner alone: it holds what people said.
      await pipeline(Readable.fromWeb(body as never), createWriteStream(file, { flags: 'wx', mode: 0o600 }));
    },
  };
}
