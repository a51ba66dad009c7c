/** What a client is told that is not passed on, or whose provider said nothing that could be: in its provider's own shape. */
import type { ServerResponse } from 'node:http';
import { errorCatalogue } from '../../core/errors';
import { callFailure } from '../../core/prices/call-failures';
import { PriceError, UnpricedModelError } from '../../core/prices/prices';
import { UnpricedUsageError } from '../../core/prices/pricing';
import { UsageError } from '../../core/prices/usage';
import { isDatabaseAway } from '../../store/pool';
import { deniedAnswer, Denied, hopelessSeconds } from '../http/denials';
import { ApiError, errorBody, type WrittenAnswer } from '../http/errors';
import { ProviderSilence } from './provider';
import type { AskedCall, Wire, WireError } from './wire';

/** SDKs wait as long as they are told, whatever that is: a client that is to wait longer is told at once, and may come back by itself. */
const waitedForSeconds = 60;

/** Which operation an answer is of: a line of the ledger, or a denial. */
export const operationHeader = 'x-spendlock-operation-id';

/** What a caller may know of an error. */
export function knownError(error: unknown): ApiError | Denied {
  if (error instanceof ApiError || error instanceof Denied) return error;
  if (error instanceof UnpricedModelError || error instanceof UnpricedUsageError || error instanceof PriceError)
    return new ApiError(error.code, error.message);
  if (error instanceof UsageError) return new ApiError('invalid_request', `${error.message} No call was made.`);
  return isDatabaseAway(error)
    ? new ApiError('unavailable', 'Postgres could not do it at the moment. No call was made.')
    : new ApiError('internal', 'The request failed. No call was made.');
}

/** A denial of a call that asks for the longest answer that there is: what would ask for less. */
export function withOpenLimit(error: unknown, { openField, maxOutputTokens }: AskedCall): unknown {
  if (openField === undefined || !(error instanceof Denied)) return error;
  const hint = `The request has no ${openField}, so ${maxOutputTokens} tokens would be reserved for its answer: set it to what you need.`;
  return new Denied({ ...error.body, message: `${error.body.message} ${hint}` });
}

/** What its client is told where its provider said nothing. */
export function silence(error: unknown): unknown {
  if (!(error instanceof ProviderSilence)) return error;
  const { code, message } = callFailure(error.facts, { outputBegan: false, nowMs: Date.now() });
  return new ApiError(code, message);
}

/** Where what it said is none of its protocol. */
export const noAnswer = (
  more: string,
  code: 'provider_unavailable' | 'outcome_unknown' = 'provider_unavailable',
): ApiError => new ApiError(code, `The provider gave no answer that could be passed on. ${more}`);

interface Refusal {
  error: WireError;
  retryAfterSeconds?: number | undefined;
  mayRetry: boolean;
}

/** The same as its provider would say it. */
export function refusalOf(known: ApiError | Denied, requestId: string): Refusal {
  if (known instanceof Denied) {
    const body = deniedAnswer(known.body, requestId);
    const retryAfterSeconds = body.retryAfter ?? hopelessSeconds;
    const message = `${body.message} ${body.action}`;
    return {
      error: { status: 429, message, requestId, spendlock: body },
      retryAfterSeconds,
      mayRetry: retryAfterSeconds <= waitedForSeconds,
    };
  }
  const body = errorBody(known, requestId);
  const { retryAfter } = known.more;
  const waitSeconds = typeof retryAfter === 'number' ? retryAfter : undefined;
  const passes = errorCatalogue[known.code].retry || waitSeconds !== undefined;
  // What was charged is not tried again by itself: each try may be charged.
  const mayRetry = passes && known.code !== 'outcome_unknown';
  return {
    error: { status: known.status, message: `${body.message} ${body.action}`, requestId, spendlock: body },
    retryAfterSeconds: waitSeconds,
    mayRetry: mayRetry && (waitSeconds ?? 0) <= waitedForSeconds,
  };
}

/** A refusal in its provider's shape, with the status of its provider where one is given. */
export function refusalAnswer(
  wire: Wire,
  known: ApiError | Denied,
  { requestId, status }: { requestId: string; status?: number | undefined },
): WrittenAnswer {
  const { error: ours, retryAfterSeconds, mayRetry } = refusalOf(known, requestId);
  const error = { ...ours, status: status ?? ours.status, retryAfterSeconds };
  const { operationId } = known instanceof Denied ? known.body : known.more;
  const body = JSON.stringify(wire.error(error));
  return {
    status: error.status,
    headers: {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      'request-id': requestId,
      'x-request-id': requestId,
      // The SDKs of these providers obey it.
      'x-should-retry': String(mayRetry),
      ...(typeof operationId === 'string' ? { [operationHeader]: operationId } : {}),
      ...(retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) }),
    },
    body,
  };
}

/** Answers with a refusal. An answer that has begun and was not ended is cut: nobody would end it. */
export function refuse(
  response: ServerResponse,
  wire: Wire,
  known: ApiError | Denied,
  terms: { requestId: string; status?: number | undefined },
): void {
  if (response.destroyed || response.writableEnded) return;
  if (response.headersSent) return void response.destroy();
  const { status, headers, body } = refusalAnswer(wire, known, terms);
  response.writeHead(status, headers);
  response.end(body);
}
