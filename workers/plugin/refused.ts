/** How a call that is not made fails, for the workflow that asked for it: by a code of the error catalogue as the failure's type. */
import { ApplicationFailure } from '@temporalio/common';
import type { Resource } from '../../core/budget/commands';
import { errorCatalogue, type ErrorCode } from '../../core/errors';
import { PriceError, UnpricedModelError } from '../../core/prices/prices';
import { UnpricedUsageError } from '../../core/prices/pricing';
import { UsageError } from '../../core/prices/usage';

/** @param more.details what comes with it, such as the quota of a denial. */
export function refused(
  code: ErrorCode,
  message: string,
  { details, mayRetry = errorCatalogue[code].retry }: { details?: object; mayRetry?: boolean } = {},
): ApplicationFailure {
  return ApplicationFailure.create({
    type: code,
    message,
    nonRetryable: !mayRetry,
    ...(details === undefined ? {} : { details: [details] }),
  });
}

/** Money was refused. It is not repeated by itself: the workflow decides whether to end, to wait, or to do something smaller. */
export const denied = (
  message: string,
  details: { resource: Resource; quota: unknown; retryAfterSeconds?: number | undefined },
): ApplicationFailure => refused('quota_exceeded', message, { details, mayRetry: false });

/** The request cannot be bounded. */
export const unbounded = (what: string): ApplicationFailure =>
  refused('invalid_request', `${what}: what it costs is not known before the call. No call was made.`);

/** An error of prices and counts as a failure; any other is passed on as it is. */
export function asRefused(error: unknown): unknown {
  if (error instanceof UnpricedModelError || error instanceof UnpricedUsageError || error instanceof PriceError)
    return refused(error.code, error.message);
  return error instanceof UsageError ? refused('invalid_request', `${error.message} No call was made.`) : error;
}
