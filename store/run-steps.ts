/** The paid steps of a run: what each asked for and cost, and which have not ended. */
import { knowsFunction } from './known-functions';
import { cacheSavedSql } from './cache-saved';
import { withEnvelopes, type OfEnvelope } from './envelopes';
import { asTenant, type Pool } from './pool';
import { columnsOf, type RequestView } from './reservation-rows';

const stepFields = [
  ...(['operationId', 'kind', 'resource', 'step', 'attempt', 'status', 'requestedUsd', 'grantedUsd'] as const),
  ...(['unreserved', 'allowedUsd'] as const),
  ...(['committedUsd', 'settlement', 'decidedAt', 'claimedAt', 'outcomeAt', 'endedAt', 'traceId'] as const),
] as const;

/** One step of a run in the books. */
export type RunStep = RequestView<(typeof stepFields)[number]> & OfEnvelope;

/** Every reservation that a run asked for, refused ones included, in the order decided. */
export async function readRunSteps(
  pool: Pool,
  { tenantId, runId }: { tenantId: string; runId: string },
): Promise<RunStep[]> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<Omit<RunStep, keyof OfEnvelope>>(
      `SELECT ${columnsOf(stepFields)} FROM copilot_internal.reservations WHERE run_id = $1 AND resource IS NOT NULL
       ORDER BY decided_at, step, attempt, operation_id`,
      [runId],
    );
    return withEnvelopes(client, tenantId, rows);
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
       WHERE run_id = $1 AND ended_at IS NOT NULL AND granted_usd IS NOT NULL AND (resource IN ('e2b', 'tool') OR settlement = 'unverified')
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

/** What caches of prompts saved a run so far, from the ledger. A decimal string, below 0 where writing to them cost more. */
export async function readCacheSaved(
  pool: Pool,
  { tenantId, runId }: { tenantId: string; runId: string },
): Promise<string> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<{ saved: string }>(
      `SELECT trim_scale(coalesce(sum(${cacheSavedSql('usage')}), 0))::text AS saved
       FROM copilot_internal.cost_records WHERE run_id = $1`,
      [runId],
    );
    return rows[0]?.saved ?? '0';
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
 * What steps of a run hold and have not begun to use: each says which attempt it is. A reservation or an envelope that a caller made
 * is the caller's own, whatever becomes of the run that it names, and says nothing of attempts.
 */
export async function findUnclaimed(
  pool: Pool,
  { tenantId, runId }: { tenantId: string; runId: string },
): Promise<string[]> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<{ operation_id: string }>(
      `SELECT operation_id FROM copilot_internal.reservations
       WHERE tenant_id = $1 AND run_id = $2 AND status = 'granted' AND claimed_at IS NULL AND attempt IS NOT NULL`,
      [tenantId, runId],
    );
    return rows.map((row) => row.operation_id);
  });
}

/** Whether a step of a run has a call under way. The window of a sandbox is none: one that was left behind lives on to its end. */
export async function hasCallUnderWay(
  pool: Pool,
  { tenantId, runId }: { tenantId: string; runId: string },
): Promise<boolean> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<{ found: boolean }>(
      `SELECT EXISTS (SELECT FROM copilot_internal.reservations
         WHERE tenant_id = $1 AND run_id = $2 AND status = 'granted' AND claimed_at IS NOT NULL AND attempt IS NOT NULL
           AND kind NOT LIKE 'sandbox.%') AS found`,
      [tenantId, runId],
    );
    return rows[0]?.found ?? false;
  });
}

/**
 * Runs of all tenants that ended so long ago and of which a step still holds what it did not begin to use; none where the database is of
 * the version before.
 */
export async function findLeftHolding(
  pool: Pool,
  { endedForMs, max }: { endedForMs: number; max: number },
): Promise<{ tenantId: string; runId: string }[]> {
  if (!(await knowsFunction(pool, 'runs_left_holding(interval, integer)'))) return [];
  const { rows } = await pool.query<{ tenantId: string; runId: string }>(
    `SELECT tenant_id AS "tenantId", run_id AS "runId"
     FROM copilot_internal.runs_left_holding($1 * interval '1 millisecond', $2)`,
    [endedForMs, max],
  );
  return rows;
}
