/** What an error of the AI SDK means for money. It is passed on as it is: what is repeated is for its workflow's retry policy to say. */
import { isErrorCode } from '../../core/errors';
import { callFailure, type ErrorFacts } from '../../core/prices/call-failures';
import { isRecord } from '../../core/prices/usage';
import type { CallOutcome } from './money';

/** Errors of the AI SDK that come before anything is sent. */
const beforeAnyCall = [
  ...['InvalidArgumentError', 'InvalidMessageRoleError', 'InvalidPromptError', 'LoadAPIKeyError', 'LoadSettingError'],
  ...['MessageConversionError', 'NoSuchModelError', 'NoSuchProviderError', 'NoSuchProviderReferenceError'],
  ...['TooManyEmbeddingValuesForCallError', 'UnsupportedFunctionalityError', 'UnsupportedModelVersionError'],
];

const textOf = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);

/** A refusal of ours from within, by a plugin that came between: no call was made. */
const isRefusedBefore = (error: unknown, name: string): boolean => {
  const { type, message } = (error ?? {}) as { type?: unknown; message?: unknown };
  const isOurs = name === 'ApplicationFailure' && typeof type === 'string' && isErrorCode(type);
  return isOurs && textOf(message)?.endsWith('No call was made.') === true;
};

const nameOf = (error: unknown): string => textOf(((error ?? {}) as { name?: unknown }).name) ?? '';

/** Of an activity of a user's own: what it did before it failed nobody knows, whatever the error, unless it says so itself. */
export const outcomeOfOwnError = (error: unknown): CallOutcome =>
  nameOf(error) === 'NotBilledError'
    ? { billed: 'no' }
    : { billed: 'unknown', knownUsd: 0n, reason: 'The activity failed before its cost was known.' };

/**
 * Of one call of a model. By names and fields: the classes may be of another copy of the SDK than any that could be imported here.
 * @param priced prices a result by its report.
 */
export function outcomeOfError(error: unknown, priced: (result: object) => CallOutcome): CallOutcome {
  const name = nameOf(error);
  if (name === 'NotBilledError' || isRefusedBefore(error, name)) return { billed: 'no' };
  if (name === 'AI_APICallError') {
    // A refusal's body is its text. An answer that was accepted, and failed, comes as it was read, under a status that it never had.
    const { responseBody: body } = error as Record<string, unknown>;
    if (isRecord(body) && isRecord(body.usage)) return priced({ response: { body } });
    if (isRecord(body)) return { billed: 'unknown', knownUsd: 0n, reason: 'The answer failed, and has no usage.' };
  }
  if (beforeAnyCall.some((known) => name === `AI_${known}`)) return { billed: 'no' };
  const { billed, message } = callFailure(factsOf(error, name), { outputBegan: false, nowMs: Date.now() });
  return billed === 'no' ? { billed } : { billed, knownUsd: 0n, reason: message };
}

function factsOf(error: unknown, name: string): ErrorFacts {
  if (name === 'CancelledFailure' || name === 'AbortError') return { kind: 'aborted' };
  if (name !== 'AI_APICallError') return { kind: 'other' };
  const { statusCode: status, responseHeaders, data } = error as Record<string, unknown>;
  if (typeof status !== 'number') return { kind: 'connection', error };
  // What was accepted and could not be read.
  if (status < 300) return { kind: 'other' };
  const headers = isRecord(responseHeaders) ? responseHeaders : {};
  const said = isRecord(data) && isRecord(data.error) ? data.error : {};
  return {
    kind: 'status',
    status,
    type: textOf(said.type) ?? textOf(said.code),
    requestId: textOf(headers['request-id']) ?? textOf(headers['x-request-id']),
    retryAfter: textOf(headers['retry-after']),
  };
}
