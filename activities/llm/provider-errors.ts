/**
 * What an error of the provider's SDK means for money. Refused before any output: surely not billed. Anything that may
 * have reached the model without an answer: unknown, so the estimate is charged until its cost is known.
 */
import { APIConnectionError, APIConnectionTimeoutError, APIError, APIUserAbortError } from '@anthropic-ai/sdk';
import type { ErrorCode } from '../../core/errors';

export type CallFailure =
  | { billed: 'no'; code: ErrorCode; message: string; retry: boolean; retryAfterSeconds?: number }
  | { billed: 'unknown'; code: 'outcome_unknown'; message: string };

const unknown = (what: string): CallFailure => ({
  billed: 'unknown',
  code: 'outcome_unknown',
  message: `${what} Whether the provider billed it is unknown: the estimate is charged as unverified.`,
});

/** Connections that were never made: the request left no machine. */
const neverConnected = [
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
];

/** @param outputBegan whether the provider had begun to answer: then nothing is free any more. */
export function callFailure(error: unknown, { outputBegan }: { outputBegan: boolean }): CallFailure {
  if (outputBegan) return unknown('The model call broke off before its usage was known.');
  if (error instanceof APIUserAbortError) return unknown('The model call was stopped before it answered.');
  if (error instanceof APIConnectionTimeoutError) return unknown('The model call got no answer in time.');
  if (error instanceof APIConnectionError) {
    if (!neverConnected.includes(causeCode(error))) return unknown('The connection to the provider broke.');
    return {
      billed: 'no',
      code: 'provider_unavailable',
      message: notBilled('The provider could not be reached'),
      retry: true,
    };
  }
  if (!(error instanceof APIError)) return unknown('The provider answered something that is no answer.');
  return statusFailure(error as APIError);
}

const notBilled = (what: string): string => `${what}. Nothing was billed and the reservation was released.`;

function statusFailure(error: APIError): CallFailure {
  // An error event inside a stream that was accepted has no status of its own.
  const overloaded = error.type === 'overloaded_error' || error.status === 529 || error.status === 503;
  const status = error.status ?? (overloaded ? 529 : 500);
  // Type and request id only: the provider's text may quote the prompt.
  const said = `The provider answered ${status}${error.type ? ` (${error.type})` : ''}${
    error.requestID ? `, request ${error.requestID}` : ''
  }`;
  if (status === 401 || status === 403) {
    return {
      billed: 'no',
      code: 'provider_credentials',
      message: notBilled(`${said}: it does not accept the key`),
      retry: false,
    };
  }
  const retryAfter = retryAfterSeconds(error);
  const wait = retryAfter === undefined ? {} : { retryAfterSeconds: retryAfter };
  if (overloaded || status === 429 || status === 408 || status === 409) {
    return { billed: 'no', code: 'provider_unavailable', message: notBilled(said), retry: true, ...wait };
  }
  if (status >= 400 && status < 500) {
    const hint = status === 404 ? ': it does not know the model' : '';
    return { billed: 'no', code: 'provider_refused', message: notBilled(said + hint), retry: false };
  }
  return unknown(`${said}.`);
}

function causeCode(error: APIConnectionError): string {
  let cause: unknown = error.cause;
  for (let depth = 0; cause && depth < 5; depth += 1) {
    const { code, cause: inner } = cause as { code?: unknown; cause?: unknown };
    if (typeof code === 'string') return code;
    cause = inner;
  }
  return '';
}

/** The wait that the provider asks for, in seconds; it may be a number or a date. At most a day. */
function retryAfterSeconds(error: APIError): number | undefined {
  const header = error.headers?.get('retry-after');
  if (!header) return undefined;
  const seconds = /^\d+(\.\d+)?$/.test(header) ? Number(header) : (Date.parse(header) - Date.now()) / 1000;
  return Number.isFinite(seconds) && seconds > 0 ? Math.min(Math.ceil(seconds), 86_400) : undefined;
}
