/** How the command line reaches the API. */
import { randomUUID } from 'node:crypto';
import { createWriteStream, readFileSync } from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { dataDirOf } from '../data-dir';

/** The API said no, or could not be reached. The message says what to do. */
export class ApiCallError extends Error {}

export interface Api {
  get<T>(path: string): Promise<T>;
  send<T>(method: 'POST' | 'PUT', path: string, body: object): Promise<T>;
  /** Writes an answer of any size to a file that is not there yet. */
  download(path: string, file: string): Promise<void>;
}

interface Address {
  apiUrl: string;
  apiKey: string;
}

/** Where the API is: the environment says so, or `npm start` of this checkout does while it runs. */
function address(): Address {
  const { SPENDLOCK_API_URL: apiUrl, SPENDLOCK_API_KEY: apiKey } = process.env;
  if (apiKey !== undefined) return { apiUrl: apiUrl ?? 'http://127.0.0.1:8088', apiKey };
  try {
    return JSON.parse(readFileSync(path.join(dataDirOf(process.env), 'api.json'), 'utf8')) as Address;
  } catch {
    throw new ApiCallError(
      'No API to speak to. Set SPENDLOCK_API_URL and SPENDLOCK_API_KEY (an administration key), or run `npm start` here. Nothing was done.',
    );
  }
}

export function connect(): Api {
  const { apiUrl, apiKey } = address();
  async function call<T>(method: string, where: string, body?: object): Promise<T> {
    const response = await fetch(`${apiUrl}${where}`, {
      method,
      headers: {
        authorization: `Bearer ${apiKey}`,
        ...(body ? { 'content-type': 'application/json', 'idempotency-key': randomUUID() } : {}),
      },
      ...(body ? { body: JSON.stringify(body) } : {}),
    }).catch((error: Error) => {
      throw new ApiCallError(
        `${apiUrl} cannot be reached (${error.cause instanceof Error ? error.cause.message : error.message}). Nothing is known to be done.`,
      );
    });
    const answer = (await response.json()) as T & { error?: string; message?: string; action?: string };
    if (response.ok) return answer;
    throw new ApiCallError([`${answer.error}: ${answer.message}`, answer.action].filter(Boolean).join('\n'));
  }
  return {
    get: (where) => call('GET', where),
    send: (method, where, body) => call(method, where, body),
    async download(where, file) {
      const response = await fetch(`${apiUrl}${where}`, { headers: { authorization: `Bearer ${apiKey}` } });
      if (!response.ok || !response.body) {
        const { error = 'internal', message = '' } = (await response.json()) as { error?: string; message?: string };
        throw new ApiCallError(`${error}: ${message}`);
      }
      // For its owner alone: it holds what people said.
      await pipeline(Readable.fromWeb(response.body as never), createWriteStream(file, { flags: 'wx', mode: 0o600 }));
    },
  };
}
