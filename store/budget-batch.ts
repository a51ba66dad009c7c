/**
 * One decision as one transaction: lock and read what Postgres holds of a tenant, let `core` decide, write what it
 * decided. Nothing is answered before this has committed.
 */
import type { BatchDecision, BatchState, QuotaAlert } from '../core/budget/batch';
import type { BudgetCommand, Resource } from '../core/budget/commands';
import { decideBatch } from '../core/budget/decision';
import { inOneSpelling } from '../core/ids';
import { formatUsd, parseUsd } from '../core/money';
import { utilizationPercent, type Quota } from '../core/budget/quotas';
import { spanNames } from '../telemetry/names';
import { inSpan } from '../telemetry/spans';
import { dueAtOnceMax, holdsOf } from './holds';
import { inTransaction, type CommitWith, type Pool, type PoolClient } from './pool';
import { recordedReservation, reservationFrom, type ReservationJson } from './reservation-rows';

export interface RecordedBatch {
  decision: BatchDecision;
  nextWakeUpMs?: number;
  alertsDue: number;
  /** Whether denied steps of the tenant wait for money. */
  moneyWaiters: boolean;
}

export interface BatchOptions {
  tenantId: string;
  commands: readonly BudgetCommand[];
  enforced: Record<Resource, boolean>;
  /** Postgres gives up after this long, and the batch is undecided. */
  timeoutMs: number;
  /** What is due of the tenant and settled beside the commands: as much as is said, or none or only one of it. */
  due?: 'left' | { only: string };
  dueMax?: number;
}

/** Decides a batch and records it. Undefined when there is no such tenant: nothing was recorded then. */
export async function decideAndRecord(pool: Pool, options: BatchOptions): Promise<RecordedBatch | undefined> {
  const { tenantId, commands, enforced, timeoutMs, due, dueMax = dueAtOnceMax } = options;
  const operationIds = [
    ...new Set([
      ...commands.flatMap((command) => ('operationId' in command ? [inOneSpelling(command.operationId)] : [])),
      ...(typeof due === 'object' ? [due.only] : []),
    ]),
  ];
  const userIds = [
    ...new Set(commands.flatMap((command) => ('userId' in command && command.userId ? [command.userId] : []))),
  ];
  const decideOnce = async (client: PoolClient, commitWith: CommitWith): Promise<RecordedBatch | undefined> => {
    const state = await load(client, {
      tenantId,
      operationIds,
      userIds,
      enforced,
      dueMax: due === undefined ? dueMax : 0,
    });
    if (!state) return undefined;
    let decision = decideBatch(state, commands);
    if (decision.needsHolds) decision = decideBatch({ ...state, holds: await holdsOf(client, tenantId) }, commands);
    const recording = inSpan(spanNames.quotaAtomicDb, {}, () => record(client, tenantId, decision));
    return { decision, ...(await commitWith(recording)) };
  };
  return inSpan(spanNames.quotaAtomic, { tenantId, commands: commands.length }, () =>
    inTransaction(pool, decideOnce, { withinMs: timeoutMs }),
  );
}

type LoadedQuota = Omit<Quota, 'limitUsd' | 'spentUsd' | 'reservedUsd' | 'lease'> &
  Record<'limitUsd' | 'spentUsd' | 'reservedUsd', string> & {
    lease?: { platformLimitUsd: string; exhausted: boolean; freesAtMs?: number };
  };

async function load(
  client: PoolClient,
  {
    tenantId,
    operationIds,
    userIds,
    enforced,
    dueMax,
  }: {
    tenantId: string;
    operationIds: string[];
    userIds: string[];
    enforced: Record<Resource, boolean>;
    dueMax: number;
  },
): Promise<BatchState | undefined> {
  const { rows } = await client.query<{
    state: {
      nowMs: number;
      quotas: LoadedQuota[];
      reservations: ReservationJson[];
      frozen: string | null;
      frozenUsers: Record<string, string>;
    } | null;
  }>('SELECT copilot_internal.load_budget_batch($1, $2, $3, $4) AS state', [tenantId, operationIds, userIds, dueMax]);
  const state = rows[0]?.state;
  if (!state) return undefined;
  return {
    tenantId,
    nowMs: state.nowMs,
    enforced,
    frozen: state.frozen ?? undefined,
    frozenUsers: state.frozenUsers,
    quotas: state.quotas.map((quota) => ({
      ...quota,
      limitUsd: parseUsd(quota.limitUsd),
      spentUsd: parseUsd(quota.spentUsd),
      reservedUsd: parseUsd(quota.reservedUsd),
      lease: quota.lease && { ...quota.lease, platformLimitUsd: parseUsd(quota.lease.platformLimitUsd) },
    })),
    reservations: state.reservations.map(reservationFrom),
  };
}

async function record(
  client: PoolClient,
  tenantId: string,
  decision: BatchDecision,
): Promise<Omit<RecordedBatch, 'decision'>> {
  const batch = {
    changes: decision.changes.map((change) => ({
      ...change,
      reservedDeltaUsd: formatUsd(change.reservedDeltaUsd),
      spentDeltaUsd: formatUsd(change.spentDeltaUsd),
      postedAt: new Date(change.postedAtMs).toISOString(),
    })),
    reservations: decision.reservations.map(recordedReservation),
    ledger: decision.ledger.map((entry) => ({
      ...entry,
      amountUsd: formatUsd(entry.amountUsd),
      postedAt: new Date(entry.postedAtMs).toISOString(),
    })),
    alerts: decision.alerts.map(alertRow),
  };
  const { rows } = await client.query<{
    recorded: { nextWakeUpMs: number | null; alertsDue: number; moneyWaiters: boolean };
  }>('SELECT copilot_internal.record_budget_batch($1, $2) AS recorded', [tenantId, JSON.stringify(batch)]);
  const { nextWakeUpMs = null, alertsDue = 0, moneyWaiters = false } = rows[0]?.recorded ?? {};
  return { ...(nextWakeUpMs === null ? {} : { nextWakeUpMs }), alertsDue, moneyWaiters };
}

/** What the alert will say, kept as it was at that moment. */
function alertRow({ kind, quota, thresholdBasisPoints, estimatedUsd, overrun }: QuotaAlert): Record<string, unknown> {
  return {
    quotaId: quota.quotaId,
    kind,
    thresholdBasisPoints,
    details: {
      scope: quota.scope,
      scopeId: quota.scopeId,
      resourceType: quota.resourceType,
      period: quota.period,
      limitUsd: formatUsd(quota.limitUsd),
      spentUsd: formatUsd(quota.spentUsd),
      reservedUsd: formatUsd(quota.reservedUsd),
      utilizationPercent: utilizationPercent(quota),
      estimatedUsd: estimatedUsd === undefined ? undefined : formatUsd(estimatedUsd),
      ...(overrun && {
        operationId: overrun.operationId,
        grantedUsd: formatUsd(overrun.grantedUsd),
        costUsd: formatUsd(overrun.costUsd),
      }),
    },
  };
}
