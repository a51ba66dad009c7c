/** Reading, in workflow code, what an activity said of its failure. */
import {
  ActivityFailure,
  ApplicationFailure,
  CancelledFailure,
  ChildWorkflowFailure,
  isCancellation,
  TemporalFailure,
  TimeoutFailure,
} from '@temporalio/workflow';
import type { AttemptFailureDetails } from '../contracts/failures';
import type { RunFailureText } from '../contracts/runs';
import type { BindingQuota, Resource } from '../core/budget/commands';
import { isErrorCode, type ErrorCode } from '../core/errors';

export interface KnownFailure {
  code: ErrorCode;
  message: string;
  details?: AttemptFailureDetails | undefined;
}

/**
 * The worker that runs the workflow cannot ask for money. It fails the workflow's task and never the workflow: nothing of the task is
 * in the history, so a worker that can goes on where it stood.
 */
class BudgetActivitiesMissingError extends Error {
  override readonly name = 'BudgetActivitiesMissingError';
}

const activitiesMissing = `The worker that runs this workflow has not registered the budget activities, so withBudget cannot ask for money. \
Nothing was reserved and no call was made. Register them on it, also where other workers run its activities: \
Worker.create({ …, activities: { ...budgetForOwnWorker({ … }).activities, ...yours } }) with budgetForOwnWorker of spendlock/worker. \
The workflow then goes on by itself, from here.`;

/**
 * Passes an activity's failure over. Any other error is a mistake of the worker or of the code: it fails the workflow's task even where
 * the workflow catches it, since a promise that nobody handles does.
 */
export function unlessMistake(error: unknown): null {
  if (error instanceof TemporalFailure) return null;
  const isMissing = error instanceof ReferenceError;
  const mistake = isMissing ? new BudgetActivitiesMissingError(activitiesMissing, { cause: error }) : (error as Error);
  void Promise.reject(mistake);
  throw mistake;
}

/** What is behind the failure of an activity or of a child workflow. */
const causeOf = (error: unknown): unknown =>
  error instanceof ActivityFailure || error instanceof ChildWorkflowFailure ? error.cause : error;

/** What a paid activity said, or a run as a child; undefined when it never got to say anything (timeout, lost worker). */
export function failureOf(error: unknown): KnownFailure | undefined {
  const cause = causeOf(error);
  if (!(cause instanceof ApplicationFailure) || !cause.type || !isErrorCode(cause.type)) return undefined;
  const details = cause.details?.[0] as AttemptFailureDetails | undefined;
  return { code: cause.type, message: cause.message, details };
}

/** Whether an activity waited for a worker until its time was over: nothing of it was done. */
export function wasNotTaken(error: unknown): boolean {
  const cause = causeOf(error);
  return cause instanceof TimeoutFailure && cause.timeoutType === 'SCHEDULE_TO_START';
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

/** Also of an activity whose worker asks for the money itself (`spendlock/temporal`). */
export function denialOf(error: unknown): DenialDetails | undefined {
  const cause = causeOf(error);
  return cause instanceof ApplicationFailure && cause.type === 'quota_exceeded'
    ? (cause.details?.[0] as DenialDetails | undefined)
    : undefined;
}

/** Whether a step was refused for want of money: of a quota's, or of the run's own limit's. */
export const isShortOfMoney = (error: unknown): boolean =>
  ['quota_exceeded', 'run_limit_exceeded'].includes(failureOf(error)?.code ?? '');

/** A failure of the workflow's own with a code of the catalogue. */
export const failureWith = (code: ErrorCode, message: string): ApplicationFailure =>
  ApplicationFailure.create({ type: code, message, nonRetryable: true });

/** How a run, or a turn, ended. */
export interface RunEnd<S extends string> {
  status: S;
  failure?: RunFailureText;
  stoppedBy?: 'budget';
}

/**
 * What an error that ended a run or a turn comes to.
 * @param context.cancelled whether somebody wanted it to stop; without that a cancellation is its time limit.
 */
export function endOf(
  error: unknown,
  { what, cancelled }: { what: 'run' | 'turn'; cancelled: boolean },
): RunEnd<'quota_exceeded' | 'cancelled' | 'failed'> {
  const denial = denialOf(error);
  if (denial) {
    return {
      status: 'quota_exceeded',
      failure: { code: 'quota_exceeded', message: (error as Error).message, ...denial },
    };
  }
  if (isCancellation(error)) {
    return cancelled
      ? {
          status: 'cancelled',
          failure: { code: 'run_cancelled', message: `The ${what} was cancelled. What it had spent stays on record.` },
        }
      : {
          status: 'failed',
          failure: {
            code: 'run_timeout',
            message: `The ${what} reached its time limit. What it had spent stays on record.`,
          },
        };
  }
  const known = failureOf(error);
  return {
    status: 'failed',
    failure: known
      ? { code: known.code, message: known.message }
      : {
          code: 'internal',
          message: `A step failed. What the ${what} had spent stays on record; the workflow in Temporal UI shows the step.`,
        },
  };
}

/** What the failure of a workflow carries, for a parent or a client that waits for it. */
export interface EndDetails extends Partial<DenialDetails> {
  runId: string;
  status: string;
}

/**
 * The error that ends a workflow as what it came to: Failed, with a code of the catalogue as its type, or Cancelled. All is settled
 * and on record by then.
 */
export function endingOf(runId: string, { status, failure }: RunEnd<string>): TemporalFailure {
  const { code = 'internal', message = 'It did not complete.', ...denial } = failure ?? {};
  if (status === 'cancelled') return new CancelledFailure(message);
  const details: EndDetails = { runId, status, ...denial };
  return ApplicationFailure.create({ type: code, message, nonRetryable: true, details: [details] });
}

export { isCancellation };
