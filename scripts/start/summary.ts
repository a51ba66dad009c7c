/** What `--json` prints of a start: the run with its answer, or why there is none, and what its process ends with. */
import { SpendlockApiError, type QuotaExceededError, type RunView } from '../../client';
import { exitStatuses } from '../../cli/failures';
import type { QuotaAmounts } from '../../core/budget/quotas';
import { ConfigError } from '../../temporal/environment';
import { UsageError } from './options';

/** Why a run has no answer. `code` is one of docs/errors.md; `wrong_use`, `not_started` and `interrupted` are of starts alone. */
export interface Failure {
  code: string;
  message: string;
  action: string | null;
}

/** What refused the money. */
export interface Denial {
  resource: string | null;
  /** The quota that denied; null where the run's own limit did. */
  quota: {
    scope: string;
    scopeId: string;
    resourceType: string;
    period: string;
    limitUsd: string;
    spentUsd: string;
    remainingUsd: string;
  } | null;
  retryAfterSeconds: number | null;
}

export interface RunSummary {
  status: RunView['status'] | 'interrupted';
  runId: string | null;
  workflowId: string | null;
  tenantId: string | null;
  model: string | null;
  answer: string | null;
  failure: Failure | null;
  denial: Denial | null;
  costUsd: string;
  quota: QuotaAmounts | null;
  steps: {
    operationId: string;
    kind: string;
    resource: string;
    reservedUsd: string | null;
    committedUsd: string | null;
    settlement: string | null;
  }[];
}

const nothing: RunSummary = {
  status: 'failed',
  runId: null,
  workflowId: null,
  tenantId: null,
  model: null,
  answer: null,
  failure: null,
  denial: null,
  costUsd: '0',
  quota: null,
  steps: [],
};

/** A run that came to its end. */
export const summaryOf = (run: RunView): RunSummary => ({
  status: run.status,
  runId: run.runId,
  workflowId: run.workflowId,
  tenantId: run.tenantId,
  model: run.model,
  answer: run.answer,
  failure: run.failure ? failureOf(run.failure) : null,
  denial: run.status === 'quota_exceeded' ? denialOf(run.failure ?? {}) : null,
  costUsd: run.costUsd,
  quota: run.quota,
  steps: run.steps.map(({ operationId, kind, resource, reservedUsd, committedUsd, settlement }) => ({
    operationId,
    kind,
    resource,
    reservedUsd,
    committedUsd,
    settlement,
  })),
});

const failureOf = ({ code, message, action }: Record<string, unknown>): Failure => ({
  code: String(code),
  message: String(message),
  action: typeof action === 'string' ? action : null,
});

function denialOf(failure: { resource?: unknown; quota?: unknown; retryAfterSeconds?: unknown }): Denial {
  const { resource, quota, retryAfterSeconds } = failure;
  return {
    resource: (resource as Denial['resource'] | undefined) ?? null,
    quota: quota === undefined ? null : quotaOf(quota as Denial['quota'] & object),
    retryAfterSeconds: typeof retryAfterSeconds === 'number' ? retryAfterSeconds : null,
  };
}

const quotaOf = (quota: Denial['quota'] & object): Denial['quota'] => {
  const { scope, scopeId, resourceType, period, limitUsd, spentUsd, remainingUsd } = quota;
  return { scope, scopeId, resourceType, period, limitUsd, spentUsd, remainingUsd };
};

/** A run that money was refused for before it was started. */
export function refusedSummary(
  { tenantId, model }: { tenantId: string; model: string },
  error: QuotaExceededError,
): RunSummary {
  const { quota, resourceType = null, retryAfterSeconds = null } = error;
  return {
    ...nothing,
    ...{ status: 'quota_exceeded', tenantId, model },
    failure: { code: error.code, message: error.message, action: error.action ?? null },
    denial: { resource: resourceType, quota: quota ? quotaOf(quota) : null, retryAfterSeconds },
  };
}

/** A start that did not come to a run, or whose run could not be followed. */
export const failedSummary = (error: unknown): RunSummary => ({
  ...nothing,
  failure: {
    code: error instanceof SpendlockApiError ? error.code : isWrongUse(error) ? 'wrong_use' : 'not_started',
    message: error instanceof Error ? error.message : String(error),
    action: error instanceof SpendlockApiError ? (error.action ?? null) : null,
  },
});

/** A run that was stopped before its end, or before its beginning. */
export const interruptedSummary = (error: unknown = new Error('Stopped before the run had ended.')): RunSummary => ({
  ...nothing,
  status: 'interrupted',
  failure: { code: 'interrupted', message: error instanceof Error ? error.message : String(error), action: null },
});

const isWrongUse = (error: unknown): boolean => error instanceof UsageError || error instanceof ConfigError;

export const exitStatusOf = (status: RunSummary['status']): number =>
  ({ completed: exitStatuses.done, quota_exceeded: exitStatuses.denied, interrupted: exitStatuses.interrupted })[
    status as string
  ] ?? exitStatuses.failed;
export const exitStatusOfError = (error: unknown): number =>
  isWrongUse(error) ? exitStatuses.wrongUse : exitStatuses.failed;
