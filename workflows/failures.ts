/** Reading, in workflow code, what an activity said of its failure. */
import { ActivityFailure, ApplicationFailure, isCancellation } from '@temporalio/workflow';
import type { AttemptFailureDetails } from '../activities/contracts/failures';
import type { BindingQuota, Resource } from '../core/commands';
import { isErrorCode, type ErrorCode } from '../core/errors';

export interface KnownFailure {
  code: ErrorCode;
  message: string;
  details?: AttemptFailureDetails | undefined;
}

/** What a paid activity said; undefined when it never got to say anything (timeout, lost worker). */
export function failureOf(error: unknown): KnownFailure | undefined {
  const cause = error instanceof ActivityFailure ? error.cause : error;
  if (!(cause instanceof ApplicationFailure) || !cause.type || !isErrorCode(cause.type)) return undefined;
  const details = cause.details?.[0] as AttemptFailureDetails | undefined;
  return { code: cause.type, message: cause.message, details };
}

/** What a denial carries for whoever catches it. */
export interface DenialDetails {
  /** What the refused step would have used. */
  resource: Resource;
  quota: BindingQuota;
  retryAfterSeconds?: number;
}

/** The step was refused its money. Not retryable: the workflow decides whether to end or to wait. */
export const quotaExceeded = (message: string, details: DenialDetails): ApplicationFailure =>
  ApplicationFailure.create({
    type: 'quota_exceeded' satisfies ErrorCode,
    message,
    nonRetryable: true,
    details: [details],
  });

export function denialOf(error: unknown): DenialDetails | undefined {
  return error instanceof ApplicationFailure && error.type === 'quota_exceeded'
    ? (error.details?.[0] as DenialDetails | undefined)
    : undefined;
}

/** A failure of the workflow's own with a code of the catalogue. */
export const failureWith = (code: ErrorCode, message: string): ApplicationFailure =>
  ApplicationFailure.create({ type: code, message, nonRetryable: true });

export { isCancellation };
