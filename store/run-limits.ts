/** Limits of runs in Postgres, before anything is decided by them; how they are decided is the batch's (store/budget-batch.ts). */
import type { RejectionCode, ReserveCommand, RunLimitRef } from '../core/budget/commands';
import { limitsAsked, limitsNamed, tightestOfRun, type RunLimit } from '../core/budget/run-limits';
import { spelled } from '../core/inputs/read-command';
import { labelsFrom, type Labels } from '../core/labels';
import { parseUsd, type Usd } from '../core/money';
import { knowsFunction } from './known-functions';
import { asTenant, sqlState, type Pool, type PoolClient } from './pool';

/** A run's limit as SQL answers it. */
export interface RunLimitJson {
  runId: string;
  ancestorIds: string[];
  limitUsd: string | null;
  spentUsd: string;
  reservedUsd: string;
}

export const runLimitFrom = ({ limitUsd, spentUsd, reservedUsd, ...names }: RunLimitJson): RunLimit => ({
  ...names,
  ...(limitUsd === null ? {} : { limitUsd: parseUsd(limitUsd) }),
  spentUsd: parseUsd(spentUsd),
  reservedUsd: parseUsd(reservedUsd),
});

/** What a database of the version before says: it has no such function, and no such table. */
const undefinedFunction = '42883';
const undefinedTable = '42P01';

/** What became of a run's limit that was to be put on record: why it cannot be as asked, or whether it is there. */
export type OpenedRunLimit = { refusal: { code: RejectionCode; message: string } } | { isOnRecord: boolean };

/**
 * Puts a run's limit on record, so that it binds those that belong to the run before it has spent anything itself. What is there stays.
 * One that brings nothing is not added, and a database of the version before has no place for any: its workflow counts for itself.
 */
export async function openRunLimit(pool: Pool, tenantId: string, runLimit: RunLimitRef): Promise<OpenedRunLimit> {
  const opening = async (client: PoolClient): Promise<OpenedRunLimit> => {
    const { rows: locked } = await client.query<{ isThere: boolean }>(
      'SELECT copilot_internal.lock_tenant($1) AS "isThere"',
      [tenantId],
    );
    if (!locked[0]?.isThere)
      return { refusal: { code: 'unknown_tenant', message: `There is no tenant ${tenantId}. Nothing was done.` } };
    const { rows } = await client.query<{ limits: RunLimitJson[] }>(
      'SELECT copilot_internal.lock_run_limits($1, $2, $3) AS limits',
      [tenantId, JSON.stringify([runLimit]), []],
    );
    const known = new Map((rows[0]?.limits ?? []).map((limit) => [limit.runId, runLimitFrom(limit)]));
    const named = limitsNamed(known, runLimit);
    if (!('type' in named)) return { isOnRecord: named.length > 0 };
    if (named.type === 'denied') return { isOnRecord: false };
    return { refusal: { code: named.code, message: named.message } };
  };
  try {
    return await asTenant(pool, tenantId, opening, { holdsUp: true });
  } catch (error) {
    if (sqlState(error) === undefinedFunction) return { isOnRecord: false };
    throw error;
  }
}

/**
 * Puts the limit that a command brings on record, as its reserve would, and answers it with those of what it belongs to as they stand,
 * with what no decision has folded yet: costs that were told, and what goes on without a grant and may still be spent.
 * Nobody's lock is waited for to decide by them. Undefined where none is named, or where the database is of the version before.
 */
export async function bringRunLimit(
  client: PoolClient,
  tenantId: string,
  command: ReserveCommand,
): Promise<RunLimit[] | undefined> {
  const [named] = limitsAsked([spelled(command)]);
  if (!named || !(await hasRunLimits(client))) return undefined;
  const [, { rows }] = await Promise.all([
    client.query('SELECT copilot_internal.add_run_limits($1, $2)', [tenantId, JSON.stringify([named])]),
    client.query<RunLimitJson>(
      `SELECT l.run_id AS "runId", l.ancestor_ids AS "ancestorIds", l.limit_usd::text AS "limitUsd",
              (l.spent_usd + coalesce(unfolded.spent_usd, 0))::text AS "spentUsd",
              (l.reserved_usd + coalesce(unfolded.reserved_usd, 0))::text AS "reservedUsd"
       FROM copilot_internal.run_limits l
       LEFT JOIN LATERAL (
         SELECT sum(spent_usd) AS spent_usd, sum(reserved_usd) AS reserved_usd
         FROM (
           SELECT coalesce(r.outcome_usd, 0) - coalesce(r.committed_usd, 0) AS spent_usd,
                  CASE r.status WHEN 'granted' THEN -r.granted_usd ELSE 0 END AS reserved_usd
           FROM copilot_internal.reservations r
           WHERE r.tenant_id = $1 AND r.outcome IS NOT NULL AND NOT r.outcome_folded AND r.limit_ids @> ARRAY[l.run_id]
           UNION ALL
           SELECT 0, coalesce(r.allowed_usd, r.requested_usd)
           FROM copilot_internal.reservations r
           WHERE r.tenant_id = $1 AND r.status = 'granted' AND r.unreserved AND r.outcome IS NULL AND r.limit_ids @> ARRAY[l.run_id]
         ) AS part) AS unfolded ON true
       WHERE l.tenant_id = $1 AND l.run_id IN (
         SELECT unnest(named.run_id || named.ancestor_ids) FROM copilot_internal.run_limits named
         WHERE named.tenant_id = $1 AND named.run_id = $2)`,
      [tenantId, named.id],
    ),
  ]);
  return rows.map(runLimitFrom);
}

/** Whether a database is of this version, or of the one before, in which runs have no limits. */
const hasRunLimits = (client: PoolClient): Promise<boolean> => knowsFunction(client, 'add_run_limits(text, jsonb)');

/** What a caller that names a run inherits of it. */
export interface RunNamed {
  /**
   * Of the run, or of the turn that its conversation is in, or was in last, with what it may cost, so that it binds before the run has spent
   * anything. Before the first turn the conversation has what one turn may cost.
   */
  limit: RunLimitRef;
  /** Whether other runs may belong to it now: of a conversation in a turn alone. */
  goesOn: boolean;
  labels?: Labels | undefined;
}

/** The run that a caller names. Undefined where the tenant has no such run, and no workflow that spends under that id. */
export async function readRunNamed(
  pool: Pool,
  { tenantId, runId }: { tenantId: string; runId: string },
): Promise<RunNamed | undefined> {
  return asTenant(pool, tenantId, async (client) => {
    // A conversation limits its turns, and what comes after one counts for it. What is on record stands, whatever the run was started with.
    const { rows } = await client.query<{ id: string; limitUsd: string | null; labels: unknown; goesOn: boolean }>(
      `SELECT f.id, f.labels, f."goesOn", CASE WHEN l.run_id IS NULL THEN f."limitUsd" END AS "limitUsd"
       FROM (
         SELECT coalesce(t.turn_id, r.run_id)::text AS id, r.labels, r.options #>> '{limits,maxCostUsd}' AS "limitUsd",
                r.type = 'task' OR t.status IS NOT DISTINCT FROM 'running' AS "goesOn"
         FROM copilot_internal.runs r
         LEFT JOIN LATERAL (
           SELECT turn_id, status FROM copilot_internal.turns
           WHERE run_id = r.run_id AND status <> 'queued' ORDER BY number DESC LIMIT 1) AS t ON true
         WHERE r.tenant_id = $1 AND r.run_id = $2) AS f
       LEFT JOIN copilot_internal.run_limits l ON l.tenant_id = $1 AND l.run_id = f.id::uuid
       UNION ALL
       SELECT run_id::text, NULL, true, NULL FROM copilot_internal.run_limits
       WHERE tenant_id = $1 AND run_id = $2 AND NOT EXISTS (SELECT FROM copilot_internal.runs WHERE tenant_id = $1 AND run_id = $2)`,
      [tenantId, runId],
    );
    const [found] = rows;
    if (!found) return undefined;
    const { id, limitUsd, goesOn, labels } = found;
    return { limit: { id, ...(limitUsd === null ? {} : { limitUsd }) }, goesOn, labels: labelsFrom(labels) };
  });
}

/** What is left of a run and of what it belongs to, as a look, which promises nothing; undefined where no limit binds it. */
export const readRunRoom = async (pool: Pool, tenantId: string, limit: RunLimitRef): Promise<Usd | undefined> =>
  tightestOfRun(await readRunLimits(pool, tenantId, limit))?.leftUsd;

/** The limits of a run and of what it belongs to as they stand, as a look. */
export async function readRunLimits(pool: Pool, tenantId: string, { id, limitUsd }: RunLimitRef): Promise<RunLimit[]> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<RunLimitJson>(
      `SELECT run_id AS "runId", ancestor_ids AS "ancestorIds", limit_usd::text AS "limitUsd", spent_usd::text AS "spentUsd",
              reserved_usd::text AS "reservedUsd"
       FROM copilot_internal.run_limits
       WHERE tenant_id = $1 AND run_id IN (
         SELECT unnest(named.run_id || named.ancestor_ids) FROM copilot_internal.run_limits named
         WHERE named.tenant_id = $1 AND named.run_id = $2)`,
      [tenantId, id],
    );
    if (rows.length > 0 || limitUsd === undefined) return rows.map(runLimitFrom);
    // What is not on record yet has spent nothing.
    return [{ runId: id, ancestorIds: [], limitUsd: parseUsd(limitUsd), spentUsd: 0n, reservedUsd: 0n }];
  });
}

/** What a run's limit belongs to, where it is on record with what it belongs to. */
export async function readParent(
  pool: Pool,
  { tenantId, runId }: { tenantId: string; runId: string },
): Promise<string | undefined> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<{ parentId: string | null }>(
      `SELECT ancestor_ids[1]::text AS "parentId" FROM copilot_internal.run_limits WHERE tenant_id = $1 AND run_id = $2`,
      [tenantId, runId],
    );
    return rows[0]?.parentId ?? undefined;
  });
}

/** What to do instead where the database is of the version before, in which runs have no limits. */
const beforeRunLimits = <T>(asked: Promise<T>, instead: () => T | Promise<T>): Promise<T> =>
  asked.catch((error: unknown) => {
    if (sqlState(error) === undefinedTable) return instead();
    throw error;
  });

/** A part of a tree of runs: what it may cost, and what it and all that belongs to it spent and hold. Decimal strings. */
export interface RunPart {
  runId: string;
  parentRunId: string | null;
  limitUsd: string | null;
  spentUsd: string;
  reservedUsd: string;
}

/** How many parts of a tree are shown. */
const partsMax = 200;

/** A run's limit, those that it belongs to and those that belong to it, from the top; of a conversation those of its turns. */
export async function readRunTree(
  pool: Pool,
  { tenantId, runId }: { tenantId: string; runId: string },
): Promise<RunPart[]> {
  const asked = asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<RunPart>(
      `WITH own AS MATERIALIZED (
         SELECT run_id, ancestor_ids FROM copilot_internal.run_limits
         WHERE tenant_id = $1 AND run_id = ANY (ARRAY(
           SELECT $2::uuid UNION ALL SELECT turn_id FROM copilot_internal.turns WHERE run_id = $2))),
       parts AS (
         SELECT run_id FROM own
         UNION SELECT unnest(ancestor_ids) FROM own
         UNION SELECT below.run_id FROM own
         JOIN copilot_internal.run_limits below ON below.tenant_id = $1 AND below.ancestor_ids @> ARRAY[own.run_id])
       SELECT run_id::text AS "runId", ancestor_ids[1]::text AS "parentRunId", trim_scale(limit_usd)::text AS "limitUsd",
              trim_scale(spent_usd)::text AS "spentUsd", trim_scale(reserved_usd)::text AS "reservedUsd"
       FROM copilot_internal.run_limits
       WHERE tenant_id = $1 AND run_id = ANY (ARRAY(SELECT run_id FROM parts))
       ORDER BY cardinality(ancestor_ids), created_at, run_id LIMIT ${partsMax}`,
      [tenantId, runId],
    );
    return rows;
  });
  return beforeRunLimits(asked, () => []);
}
