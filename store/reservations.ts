/** A reservation's row as the paid step sees it: claimed once, given its outcome once, read back at the end. */
import type { Resource } from '../core/budget/commands';
import { formatUsd, parseAmountUsd, type Usd } from '../core/money';
import type { ReservationStatus, Settlement } from '../core/budget/reservations';
import { storable } from '../core/storable';
import { asTenant, type Pool, type PoolClient } from './pool';

export interface OperationKey {
  tenantId: string;
  operationId: string;
}

/**
 * Claims a reservation for one execution. Succeeds once, for a granted and unexpired one, and again for the same token. From
 * then on it lasts as long as it was asked for once more, or as the call may take where that is longer.
 * Undefined means that there is nothing to spend: no call may be made.
 */
export async function claimReservation(
  pool: Pool,
  {
    tenantId,
    operationId,
    claimToken,
    callSeconds,
  }: OperationKey & { claimToken: string; callSeconds?: number | undefined },
): Promise<Usd | undefined> {
  return asTenant(pool, tenantId, async (client, commitWith) => {
    const { rows } = await commitWith(
      client.query<{ granted: string | null }>(
        // The claim first: only what is claimed is held for longer. Both functions are older than this version.
        `SELECT granted, CASE WHEN granted IS NOT NULL AND $4::numeric IS NOT NULL
           THEN copilot_internal.extend_reservation($1, $2, $4::numeric) END
         FROM (SELECT copilot_internal.claim_reservation($1, $2, $3)::text AS granted OFFSET 0) AS claim`,
        [tenantId, operationId, claimToken, callSeconds ?? null],
      ),
    );
    const granted = rows[0]?.granted;
    return granted == null ? undefined : parseAmountUsd(granted);
  });
}

/**
 * What became of a paid call. `result` is what the step returns; it is kept so that a paid answer survives a crash. Of an unverified one
 * the cost is the part that is known: it was at least so much.
 */
export type NewOutcome =
  | { billed: true; costUsd: Usd; isUnverified?: boolean; usage?: unknown; result?: unknown }
  | { billed: false; reason: string };

/**
 * Writes the outcome of a claimed reservation, inside the caller's transaction. Without a token it writes for whoever
 * claimed. True when the outcome is recorded, now or before; false when another execution holds the claim.
 */
export async function recordOutcome(
  client: PoolClient,
  { tenantId, operationId, claimToken, outcome }: OperationKey & { claimToken?: string; outcome: NewOutcome },
): Promise<boolean> {
  // Any other is written as the version before wrote it: its schema takes that as well.
  const isPart = outcome.billed && outcome.isUnverified === true;
  const { rows } = await client.query<{ recorded: boolean }>(
    `SELECT copilot_internal.record_outcome($1, $2,
       coalesce($3::uuid, (SELECT claim_token FROM copilot_internal.reservations WHERE tenant_id = $1 AND operation_id = $2)),
       $4, $5, $6, $7${isPart ? ', true' : ''}) AS recorded`,
    [
      tenantId,
      operationId,
      claimToken ?? null,
      outcome.billed ? 'billed' : 'not_billed',
      outcome.billed ? formatUsd(outcome.costUsd) : null,
      outcome.billed && outcome.usage !== undefined ? JSON.stringify(storable(outcome.usage)) : null,
      JSON.stringify(storable(outcome.billed ? (outcome.result ?? null) : { reason: outcome.reason })),
    ],
  );
  return rows[0]?.recorded ?? false;
}

/**
 * Keeps what a claimed call brought whose cost nobody can tell, inside the caller's transaction: without an outcome it is
 * settled at its grant, as unverified. The same answer as that of `recordOutcome`.
 */
export async function recordUnpriced(
  client: PoolClient,
  {
    tenantId,
    operationId,
    claimToken,
    usage,
    result,
  }: OperationKey & { claimToken: string; usage: unknown; result: unknown },
): Promise<boolean> {
  const { rowCount } = await client.query(
    `UPDATE copilot_internal.reservations SET outcome_usage = $4, outcome_result = $5
     WHERE tenant_id = $1 AND operation_id = $2 AND claim_token = $3 AND outcome IS NULL`,
    [tenantId, operationId, claimToken, JSON.stringify(storable(usage ?? null)), JSON.stringify(storable(result))],
  );
  return (rowCount ?? 0) > 0;
}

/** How far one operation has come. */
export interface OperationState {
  status: ReservationStatus;
  claimed: boolean;
  outcome?: 'billed' | 'not_billed' | undefined;
  result?: unknown;
}

/** Undefined when there is no such operation. */
export async function findOperation(pool: Pool, key: OperationKey): Promise<OperationState | undefined> {
  return asTenant(pool, key.tenantId, async (client) => {
    const { rows } = await client.query<OperationState>(
      `SELECT status, claimed_at IS NOT NULL AS claimed, outcome, outcome_result AS result
       FROM copilot_internal.reservations WHERE tenant_id = $1 AND operation_id = $2`,
      [key.tenantId, key.operationId],
    );
    const row = rows[0];
    return row && { ...row, outcome: row.outcome ?? undefined };
  });
}

/** One step of a run in the ledger's words. Amounts are decimal strings. */
export interface LedgerStep {
  operationId: string;
  kind: string;
  resource: Resource;
  step?: number | undefined;
  attempt?: number | undefined;
  model?: string | undefined;
  status: ReservationStatus;
  requestedUsd: string;
  reservedUsd?: string | undefined;
  committedUsd?: string | undefined;
  settlement?: Settlement | undefined;
  decidedAt: Date;
  /** When its money was first used: the call began. */
  claimedAt?: Date | undefined;
  /** When its call was over, as far as that is known. */
  outcomeAt?: Date | undefined;
  endedAt?: Date | undefined;
  /** The trace that it was reserved in. */
  traceId?: string | undefined;
}

interface StepRow {
  operation_id: string;
  kind: string;
  resource: Resource;
  step: number | null;
  attempt: number | null;
  model: string | null;
  status: ReservationStatus;
  requested_usd: string;
  granted_usd: string | null;
  committed_usd: string | null;
  settlement: Settlement | null;
  decided_at: Date;
  claimed_at: Date | null;
  outcome_at: Date | null;
  ended_at: Date | null;
  trace_id: string | null;
}

/** Every reservation that a run asked for, refused ones included, in the order decided. */
export async function readRunSteps(
  pool: Pool,
  { tenantId, runId }: { tenantId: string; runId: string },
): Promise<LedgerStep[]> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<StepRow>(
      `SELECT operation_id, kind, resource, step, attempt, model, status, trim_scale(requested_usd)::text AS requested_usd,
              trim_scale(granted_usd)::text AS granted_usd, trim_scale(committed_usd)::text AS committed_usd, settlement, decided_at,
              claimed_at, outcome_at, ended_at, split_part(trace_context ->> 'traceparent', '-', 2) AS trace_id
       FROM copilot_internal.reservations WHERE run_id = $1 AND resource IS NOT NULL
       ORDER BY decided_at, step, attempt, operation_id`,
      [runId],
    );
    return rows.map((row) => ({
      operationId: row.operation_id,
      kind: row.kind,
      resource: row.resource,
      step: row.step ?? undefined,
      attempt: row.attempt ?? undefined,
      model: row.model ?? undefined,
      status: row.status,
      requestedUsd: row.requested_usd,
      reservedUsd: row.granted_usd ?? undefined,
      committedUsd: row.committed_usd ?? undefined,
      settlement: row.settlement ?? undefined,
      decidedAt: row.decided_at,
      claimedAt: row.claimed_at ?? undefined,
      outcomeAt: row.outcome_at ?? undefined,
      endedAt: row.ended_at ?? undefined,
      traceId: row.trace_id ?? undefined,
    }));
  });
}

/** A page shows so many steps. */
const settledStepsMax = 25;

/**
 * What the latest steps of a run, or of one turn, cost in the end: those of sandboxes, and those whose cost
 * is an estimate because nobody knows what became of them.
 */
export async function readSettledSteps(
  pool: Pool,
  { tenantId, runId, turnId }: { tenantId: string; runId: string; turnId?: string },
): Promise<{ operationId: string; costUsd: string; unverified?: true }[]> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<{ operation_id: string; cost: string; unverified: boolean }>(
      `SELECT operation_id, trim_scale(coalesce(committed_usd, 0))::text AS cost, settlement = 'unverified' AS unverified
       FROM copilot_internal.reservations
       WHERE run_id = $1 AND ended_at IS NOT NULL AND granted_usd IS NOT NULL AND (resource = 'e2b' OR settlement = 'unverified')
         AND ($2::uuid IS NULL OR step > (SELECT opening_step FROM copilot_internal.turns WHERE run_id = $1 AND turn_id = $2))
       ORDER BY decided_at DESC LIMIT ${settledStepsMax}`,
      [runId, turnId ?? null],
    );
    return rows.map((row) => ({
      operationId: row.operation_id,
      costUsd: row.cost,
      ...(row.unverified ? { unverified: true as const } : {}),
    }));
  });
}

/** What a run has cost so far, from the ledger. A decimal string. */
export async function readRunCost(
  pool: Pool,
  { tenantId, runId }: { tenantId: string; runId: string },
): Promise<string> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<{ cost: string }>(
      'SELECT trim_scale(coalesce(sum(amount_usd), 0))::text AS cost FROM copilot_internal.cost_records WHERE run_id = $1',
      [runId],
    );
    return rows[0]?.cost ?? '0';
  });
}

/**
 * Of the given operations, those that have not ended: still granted, with an outcome that is not folded, or never heard
 * of by the authority.
 */
export async function findUnsettled(
  pool: Pool,
  { tenantId, operationIds }: { tenantId: string; operationIds: readonly string[] },
): Promise<string[]> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<{ operation_id: string }>(
      `SELECT asked.operation_id FROM unnest($2::uuid[]) AS asked (operation_id)
       LEFT JOIN copilot_internal.reservations r ON r.tenant_id = $1 AND r.operation_id = asked.operation_id
       WHERE r.operation_id IS NULL OR r.status = 'granted' OR (r.outcome IS NOT NULL AND NOT r.outcome_folded)`,
      [tenantId, operationIds],
    );
    return rows.map((row) => row.operation_id);
  });
}

/**
 * What steps of a run hold and have not begun to use. A reservation that a caller of the API made is the caller's own, whatever
 * becomes of the run that it names.
 */
export async function findUnbegun(
  pool: Pool,
  { tenantId, runId }: { tenantId: string; runId: string },
): Promise<string[]> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<{ operation_id: string }>(
      `SELECT operation_id FROM copilot_internal.reservations
       WHERE tenant_id = $1 AND run_id = $2 AND status = 'granted' AND claimed_at IS NULL AND on_expiry IS NULL`,
      [tenantId, runId],
    );
    return rows.map((row) => row.operation_id);
  });
}

/** A reservation as its caller sees it. Amounts are decimal strings. */
export interface ReservationView {
  operationId: string;
  userId: string | null;
  /** The run or conversation that it is for. */
  runId: string | null;
  resource: Resource;
  kind: string;
  model: string | null;
  status: ReservationStatus;
  requestedUsd: string;
  grantedUsd: string | null;
  committedUsd: string | null;
  overrunUsd: string | null;
  settlement: Settlement | null;
  claimed: boolean;
  outcome: 'billed' | 'not_billed' | null;
  decidedAt: Date;
  expiresAt: Date | null;
  endedAt: Date | null;
}

const viewColumns = `operation_id AS "operationId", user_id AS "userId", run_id AS "runId", resource, kind, model, status,
  trim_scale(requested_usd)::text AS "requestedUsd", trim_scale(granted_usd)::text AS "grantedUsd",
  trim_scale(committed_usd)::text AS "committedUsd", trim_scale(overrun_usd)::text AS "overrunUsd", settlement,
  claimed_at IS NOT NULL AS claimed, outcome, decided_at AS "decidedAt", expires_at AS "expiresAt", ended_at AS "endedAt"`;

/** Undefined when there is none, and for the mark of a release that came before its reserve. */
export async function readReservation(pool: Pool, key: OperationKey): Promise<ReservationView | undefined> {
  return asTenant(pool, key.tenantId, async (client) => {
    const { rows } = await client.query<ReservationView>(
      `SELECT ${viewColumns} FROM copilot_internal.reservations
       WHERE tenant_id = $1 AND operation_id = $2 AND resource IS NOT NULL`,
      [key.tenantId, key.operationId],
    );
    return rows[0];
  });
}

/** The open reservations of a tenant, those that run out first; with `unverified`, those whose cost nobody knows instead. */
export async function listReservations(
  pool: Pool,
  { tenantId, unverified = false }: { tenantId: string; unverified?: boolean },
): Promise<ReservationView[]> {
  return asTenant(pool, tenantId, (client) => reservationsOf(client, tenantId, { unverified }));
}

/** Also what had ended at no cost before a part of its cost came to be known. */
const isUnverified = `(settlement = 'unverified' OR (outcome_unverified AND status IN ('released', 'expired')))`;

/** The same within the caller's transaction. */
export async function reservationsOf(
  client: PoolClient,
  tenantId: string,
  { unverified = false, limit = 1_000 }: { unverified?: boolean; limit?: number } = {},
): Promise<ReservationView[]> {
  const { rows } = await client.query<ReservationView>(
    `SELECT ${viewColumns} FROM copilot_internal.reservations
     WHERE tenant_id = $1 AND ${unverified ? `${isUnverified} ORDER BY ended_at` : `status = 'granted' ORDER BY expires_at`}
     LIMIT $2`,
    [tenantId, limit],
  );
  return rows;
}

/** Holds a granted reservation for at least so long from now. Undefined when it is not granted, or has run out. */
export async function extendReservation(
  pool: Pool,
  { tenantId, operationId, ttlSeconds }: OperationKey & { ttlSeconds: number },
): Promise<Date | undefined> {
  return asTenant(pool, tenantId, async (client, commitWith) => {
    const { rows } = await commitWith(
      client.query<{ expires_at: Date | null }>(
        'SELECT copilot_internal.extend_reservation($1, $2, $3) AS expires_at',
        [tenantId, operationId, ttlSeconds],
      ),
    );
    return rows[0]?.expires_at ?? undefined;
  });
}
