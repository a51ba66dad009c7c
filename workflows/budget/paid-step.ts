/** What a paid step is: whose money it asks for, how much, and what it gets. */
import type { ReserveRequest } from '../../contracts/budget';
import type { AgentRunInput } from '../../contracts/messages';
import type { Resource, RunLimitRef } from '../../core/budget/commands';
import { envelopeKind } from '../../core/budget/envelopes';
import { mergedLabels, type Labels } from '../../core/labels';
import { sentAs, sentOfEnvelope } from '../../core/resources';

/** Whose money it is. */
export interface BudgetScope {
  tenantId: string;
  userId?: string;
  runId?: string;
  /**
   * The most that all its steps may cost together, whatever the quotas allow. It stands in the books under `runId`, or else under the
   * workflow's first execution, so that resets, continuations, children and callers of that run share it. Decimal string.
   */
  maxCostUsd?: string;
  /** The run that this one belongs to: what it may cost covers this one too. A parent's `scopeForChild` names it. */
  parentRunId?: string;
  /** What its costs are for, in reports: at most eight, such as `{ team: 'search' }`. */
  labels?: Labels;
  /** What to do when the authority does not answer; by default a step waits for as long as it takes. */
  unavailable?: UnavailablePolicy;
  /** What a denied step does: fails when absent, or holds nothing and waits until there is money. */
  onDenied?: 'wait' | undefined;
  /**
   * A step that waits for money asks people for it (docs/decisions/0061), and fails when they refuse, or have not answered in so many days: at
   * most 30.
   */
  askDays?: number | undefined;
  /**
   * How long a step that fails when it is denied waits before that, where only what others hold stands in its way; 0 for not at
   * all. 15 when absent, at most 60.
   */
  waitForHoldsSeconds?: number | undefined;
}

/** What is asked of the caller of a paid step on its way. */
export interface PaidStepHooks {
  /**
   * Runs before an attempt is committed that failed without saying what was billed: the chance to find out, such as
   * ending a sandbox whose creation was not acknowledged.
   */
  beforeCommit?: (operationId: string) => Promise<void>;
  /**
   * The step at the prices of now: before it is asked for again, after it waited for money or paused. What it asked for first may
   * have another price by then.
   */
  planAgain?: () => Promise<PaidStep>;
  /** What was held for it already: its first attempt asks for nothing. */
  held?: Grant | undefined;
}

/** The scope of a run, from what it was started with. */
export function scopeOf({
  tenantId,
  runId,
  userId,
  labels,
  maxCostUsd,
  parentRunId,
  unavailable,
  onDenied,
  askDays,
  waitForHoldsSeconds,
}: Pick<
  AgentRunInput,
  | 'tenantId'
  | 'runId'
  | 'userId'
  | 'labels'
  | 'maxCostUsd'
  | 'parentRunId'
  | 'unavailable'
  | 'onDenied'
  | 'askDays'
  | 'waitForHoldsSeconds'
>): BudgetScope {
  return {
    tenantId,
    runId,
    ...(userId === undefined ? {} : { userId }),
    ...(labels === undefined ? {} : { labels }),
    ...(maxCostUsd === undefined ? {} : { maxCostUsd }),
    ...(parentRunId === undefined ? {} : { parentRunId }),
    ...(unavailable === undefined ? {} : { unavailable }),
    ...(onDenied === undefined ? {} : { onDenied }),
    ...(askDays === undefined ? {} : { askDays }),
    ...(waitForHoldsSeconds === undefined ? {} : { waitForHoldsSeconds }),
  };
}

/** When the authority has not answered for so long: fail, or go on without a grant, on record. */
export interface UnavailablePolicy {
  then: 'deny' | 'allow';
  afterMs: number;
}

/** What a paid step asks for. All of it is fixed before it asks. */
export interface PaidStep {
  resource: Resource;
  /** What people read in reports, such as `llm.call`. */
  kind: string;
  amountUsd: string;
  /** The least that is of use; the act shrinks its work to what it was granted. */
  minimumUsd?: string;
  priceVersion: string;
  /** How long the act may take, with a margin: the reservation expires after it. */
  ttlSeconds: number;
  step?: number;
  model?: string;
  /** What this step is for, beside the labels of its scope and over them. */
  labels?: Labels;
  /** Attempts in all, the first included. */
  maxAttempts?: number;
  /** A provider that asks for a longer pause than this is not asked again. */
  pauseMsMax?: number;
  /** No step, but money for those to come: an envelope over these resources. */
  envelopeOf?: Resource[];
  /**
   * A step that does not wait for money, whatever its scope says: not at all, or (`fail-unless-held`) but for the moment in which what others
   * hold may come back.
   */
  onDenied?: 'fail' | 'fail-unless-held';
}

/** The right to act. */
export interface Grant {
  operationId: string;
  grantedUsd: string;
  /** Less than planned, also where its run's limit made it less before it was asked for. */
  partial: boolean;
}

/** How long the envelope of a run lasts at least after each of its steps. What a run that has ended holds is given back before. */
const envelopeTtlSeconds = 24 * 3600;

/** What reserves money for steps to come, of these resources. */
export const envelopeStep = (amountUsd: string, envelopeOf: Resource[]): PaidStep => ({
  ...{ resource: 'llm', kind: envelopeKind, amountUsd, envelopeOf },
  ...{ priceVersion: 'run', ttlSeconds: envelopeTtlSeconds },
});

/** A reserve as it is sent: the step without what only concerns its repetition. */
export function requestOf(order: {
  scope: BudgetScope;
  step: PaidStep;
  operationId: string;
  attempt: number;
  /** Its place in the line of those that wait for money. */
  waiterId?: string | undefined;
  prefersWhole?: boolean;
  /** The limit in the books that it counts for. */
  runLimit?: RunLimitRef | undefined;
  /** The envelope that its money is taken from, where there is room. */
  envelopeId?: string | undefined;
}): ReserveRequest {
  const { scope, step, operationId, attempt, waiterId, prefersWhole = false, runLimit, envelopeId } = order;
  const labels = mergedLabels(scope.labels, step.labels);
  const request = {
    ...scope,
    ...step,
    // A part that may go by the limits says its resource as any other: who knows no envelopes decides it as one.
    ...(step.envelopeOf ? sentOfEnvelope(step.resource) : sentAs(step.resource)),
    ...(envelopeId === undefined
      ? {}
      : { parentOperationId: envelopeId, orBeyond: true, parentTtlSeconds: envelopeTtlSeconds }),
    ...(labels ? { labels } : {}),
    ...(waiterId === undefined ? {} : { waiterId }),
    ...(prefersWhole ? { prefersWhole } : {}),
    ...(runLimit ? { runLimit } : {}),
    operationId,
    attempt,
  };
  delete request.maxAttempts;
  delete request.pauseMsMax;
  delete request.onDenied;
  delete request.maxCostUsd;
  delete request.parentRunId;
  delete request.unavailable;
  delete request.waitForHoldsSeconds;
  delete request.askDays;
  return request;
}
