/**
 * One decision as one transaction: lock and read what Postgres holds of a tenant, let `core` decide, write what it
 * decided. Nothing is answered before this has committed.
 */
import type { BatchDecision, BatchState, QuotaAlert } from '../core/budget/batch';
import type { BudgetCommand, OnExpiry, ReserveAnswer, ReserveCommand, Resource } from '../core/budget/commands';
import { answerFromRecord, decideBatch } from '../core/budget/decision';
import { inOneSpelling } from '../core/ids';
import { formatUsd, parseUsd, type Usd } from '../core/money';
import { utilizationPercent, type Quota } from '../core/budget/quotas';
import type { Refusal, Reservation, ReservationStatus, Settlement } from '../core/budget/reservations';
import { spanNames } from '../telemetry/names';
import { inSpan } from '../telemetry/spans';
import { holdsOf } from './holds';
import { asTenant, inTransaction, type CommitWith, type Pool, type PoolClient } from './pool';

/** How many overdue reservations, and how many unfolded outcomes, one batch settles beside its commands. */
export const dueAtOnceMax = 500;

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

interface LoadedReservation {
  operationId: string;
  userId: string | null;
  runId: string | null;
  kind: string;
  step: number | null;
  attempt: number | null;
  resource: Resource | null;
  model: string | null;
  onExpiry: OnExpiry | null;
  priceVersion: string | null;
  requestedUsd: string | null;
  minimumUsd: string | null;
  grantedUsd: string | null;
  unreserved: boolean;
  status: ReservationStatus;
  refusal: Refusal | null;
  claimed: boolean;
  decidedAtMs: number;
  expiresAtMs: number | null;
  outcome: 'billed' | 'not_billed' | null;
  outcomeUsd: string | null;
  outcomeFolded: boolean;
  outcomeUnverified: boolean;
  settlement: Settlement | null;
  committedUsd: string | null;
  overrunUsd: string | null;
  postedAtMs: number | null;
  endedAtMs: number | null;
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
      reservations: LoadedReservation[];
      frozen: string | null;
      frozenUsers: Record<string, string>;
    } | null;
  }>('SELECT copilot_internal.load_budget_batch($1, $2, $3, $4) AS state', [tenantId, operationIds, userIds, dueMax]);
  const state = rows[0]?.state;
  if (!state) return undefined;
  return {
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

/** Some of what is due of a tenant, in no order: reservations that are overdue, and those with an outcome to fold. */
export async function listDue(pool: Pool, tenantId: string, limit: number): Promise<string[]> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<{ operation_id: string }>(
      `SELECT operation_id FROM (
         (SELECT operation_id FROM copilot_internal.reservations
          WHERE tenant_id = $1 AND status = 'granted' AND expires_at <= clock_timestamp() ORDER BY expires_at LIMIT $3)
         UNION
         (SELECT operation_id FROM copilot_internal.reservations
          WHERE tenant_id = $1 AND outcome IS NOT NULL AND NOT outcome_folded ORDER BY outcome_at LIMIT $3)) AS due
       ORDER BY random() LIMIT $2`,
      [tenantId, limit, dueAtOnceMax],
    );
    return rows.map((row) => row.operation_id);
  });
}

/** Reservations as they are recorded, for answering who asks again. */
export async function readReservations(
  pool: Pool,
  { tenantId, operationIds }: { tenantId: string; operationIds: readonly string[] },
): Promise<Reservation[]> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<{ reservation: LoadedReservation }>(
      `SELECT copilot_internal.reservation_as_json(r) AS reservation FROM copilot_internal.reservations r
       WHERE r.tenant_id = $1 AND r.operation_id = ANY ($2::uuid[])`,
      [tenantId, operationIds],
    );
    return rows.map((row) => reservationFrom(row.reservation));
  });
}

/** Lets an operation go on without a grant, unless it was decided meanwhile; answers what holds now. */
export async function allowUnreserved(
  pool: Pool,
  { tenantId, command }: { tenantId: string; command: ReserveCommand },
): Promise<ReserveAnswer> {
  await asTenant(pool, tenantId, (client, commitWith) =>
    commitWith(client.query('SELECT copilot_internal.allow_unreserved($1, $2)', [tenantId, JSON.stringify(command)])),
  );
  const [reservation] = await readReservations(pool, { tenantId, operationIds: [command.operationId] });
  if (!reservation) throw new Error(`The operation ${command.operationId} could not be recorded.`);
  return answerFromRecord(reservation, command);
}

const usdOrNone = (text: string | null): Usd | undefined => (text === null ? undefined : parseUsd(text));

function reservationFrom(row: LoadedReservation): Reservation {
  const { resource, requestedUsd } = row;
  return {
    operationId: row.operationId,
    // A tombstone has no request.
    request:
      resource === null || requestedUsd === null
        ? undefined
        : {
            userId: row.userId ?? undefined,
            resource,
            requestedUsd: parseUsd(requestedUsd),
            minimumUsd: usdOrNone(row.minimumUsd),
            priceVersion: row.priceVersion ?? '',
            runId: row.runId ?? undefined,
            kind: row.kind,
            step: row.step ?? undefined,
            attempt: row.attempt ?? undefined,
            model: row.model ?? undefined,
            onExpiry: row.onExpiry ?? undefined,
          },
    status: row.status,
    refusal: row.refusal ?? undefined,
    grantedUsd: usdOrNone(row.grantedUsd),
    unreserved: row.unreserved,
    decidedAtMs: row.decidedAtMs,
    expiresAtMs: row.expiresAtMs ?? undefined,
    claimed: row.claimed,
    outcome: outcomeFrom(row),
    outcomeFolded: row.outcomeFolded,
    settlement: row.settlement ?? undefined,
    committedUsd: usdOrNone(row.committedUsd),
    overrunUsd: usdOrNone(row.overrunUsd),
    postedAtMs: row.postedAtMs ?? undefined,
    endedAtMs: row.endedAtMs ?? undefined,
  };
}

function outcomeFrom({ outcome, outcomeUsd, outcomeUnverified }: LoadedReservation): Reservation['outcome'] {
  if (outcome === null) return undefined;
  if (outcome !== 'billed') return { billed: false };
  return { billed: true, costUsd: parseUsd(outcomeUsd ?? ''), ...(outcomeUnverified ? { isUnverified: true } : {}) };
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
      postedAt: isoOrNone(change.postedAtMs),
    })),
    reservations: decision.reservations.map(reservationRow),
    ledger: decision.ledger.map((entry) => ({
      ...entry,
      amountUsd: formatUsd(entry.amountUsd),
      postedAt: isoOrNone(entry.postedAtMs),
    })),
    alerts: decision.alerts.map(alertRow),
  };
  const { rows } = await client.query<{
    recorded: { nextWakeUpMs: number | null; alertsDue: number; moneyWaiters: boolean };
  }>('SELECT copilot_internal.record_budget_batch($1, $2) AS recorded', [tenantId, JSON.stringify(batch)]);
  const { nextWakeUpMs = null, alertsDue = 0, moneyWaiters = false } = rows[0]?.recorded ?? {};
  return { ...(nextWakeUpMs === null ? {} : { nextWakeUpMs }), alertsDue, moneyWaiters };
}

const isoOrNone = (ms: number | undefined): string | undefined =>
  ms === undefined ? undefined : new Date(ms).toISOString();
const textOrNone = (usd: Usd | undefined): string | undefined => (usd === undefined ? undefined : formatUsd(usd));

function reservationRow(reservation: Reservation): Record<string, unknown> {
  const { request } = reservation;
  return {
    operationId: reservation.operationId,
    status: reservation.status,
    refusal: reservation.refusal,
    grantedUsd: textOrNone(reservation.grantedUsd),
    decidedAt: isoOrNone(reservation.decidedAtMs),
    expiresAt: isoOrNone(reservation.expiresAtMs),
    outcomeFolded: reservation.outcomeFolded,
    settlement: reservation.settlement,
    committedUsd: textOrNone(reservation.committedUsd),
    overrunUsd: textOrNone(reservation.overrunUsd),
    postedAt: isoOrNone(reservation.postedAtMs),
    endedAt: isoOrNone(reservation.endedAtMs),
    ...(request && {
      ...request,
      requestedUsd: formatUsd(request.requestedUsd),
      minimumUsd: textOrNone(request.minimumUsd),
    }),
  };
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
      estimatedUsd: textOrNone(estimatedUsd),
      ...(overrun && {
        operationId: overrun.operationId,
        grantedUsd: formatUsd(overrun.grantedUsd),
        costUsd: formatUsd(overrun.costUsd),
      }),
    },
  };
}
