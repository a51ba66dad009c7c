/** What an error of the AI SDK means for money. It is passed on as it is: what is repeated is for its workflow's retry policy to say. */
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

/** By names and fields: the classes may be of another copy of the SDK than any that could be imported here. */
export function outcomeOfError(error: unknown): CallOutcome {
  const { name = '' } = (error ?? {}) as { name?: string };
  if (name === 'NotBilledError') return { billed: 'no' };
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
