/** How the command line reaches the API: by the typed client. What goes wrong is told in one place, `failures.ts`. */
import { createSpendlockClient, type SpendlockClient } from '../client';
import { connect as connectClient, type Http } from '../client/http';
import { apiTarget } from './target';

/** How long an answer may take. */
const answerMs = 120_000;

/** Every resource of the API. @throws TargetError when nothing says where it is. */
export function client(): SpendlockClient {
  const { apiUrl, apiKey } = apiTarget(process.env);
  return createSpendlockClient({ baseUrl: apiUrl, apiKey, timeoutMs: answerMs });
}

/** The command refuses. The message says what to do. */
export { CommandError as ApiCallError } from './failures';

/** The same by paths. */
export function connect(): Pick<Http, 'get'> & {
  send<T>(method: 'POST' | 'PUT', path: string, body: object): Promise<T>;
} {
  const { apiUrl, apiKey } = apiTarget(process.env);
  const http = connectClient({ baseUrl: apiUrl, apiKey }, answerMs);
  return {
    get: (where) => http.get(where),
    send: (method, where, body) => (method === 'PUT' ? http.put(where, body) : http.post(where, body)),
  };
}
