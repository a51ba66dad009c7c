/**
 * How failures cross from an activity to its workflow: error classes do not survive that, so each is an
 * ApplicationFailure whose `type` is a code of the error catalogue. The message is ours: what a provider wrote may quote
 * the prompt, and would stay in the history.
 */
import { ApplicationFailure } from '@temporalio/common';
import { storableText } from '../core/storable';
import type { ErrorCode } from '../core/errors';
import type { AttemptFailureDetails } from '../contracts/failures';

/** A failure that its activity is not retried for. What happens next is the workflow's to say. */
export function failure(code: ErrorCode, message: string, details?: AttemptFailureDetails): ApplicationFailure {
  return ApplicationFailure.create({
    type: code,
    // It may name what a provider or a program called its error, and is stored with the run.
    message: storableText(message),
    nonRetryable: true,
    ...(details ? { details: [details] } : {}),
  });
}

/** Turns an error of core that carries a code of the catalogue into a failure; any other is passed on as it is. */
export function asFailure(error: unknown, codes: readonly ErrorCode[]): unknown {
  const code = (error as { code?: unknown } | null)?.code;
  const known = codes.find((candidate) => candidate === code);
  return known && error instanceof Error ? failure(known, error.message) : error;
}
