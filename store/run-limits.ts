/** Limits of runs in Postgres, before anything is decided by them; how they are decided is the batch's (store/budget-batch.ts). */
import type { RejectionCode, ReserveCommand, RunLimitRef } from '../core/budget/commands';
import { limitsAsked, limitsNamed, type RunLimit } from '../core/budget/run-limits';
import { spelled } from '../core/inputs/read-command';
import { parseAmountUsd, parseUsd } from '../core/money';
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

/** What a database of the version before says: it has no such function. */
const undefinedFunction = '42883';

/** What became of a run's limit that was to be put on record: why it cannot be as asked, or whether it is there. */
export type OpenedRunLimit = { refusal: { code: RejectionCode; message: string } } | { isOnRecord: boolean };

/**
 * Puts a run's limit on record, so that it binds those that belong to the run before it has spent anything itself. What is there stays.
 * One that brings nothing is not added, and a database of the version before has no place for any: its workflow counts for itself.
 */
export async function openRunLimit(pool: Pool, tenantId: string, runLimit: RunLimitRef): Promise<OpenedRunLimit> {
  try {
    return await asTenant(pool, tenantId, async (client) => {
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
    });
  } catch (error) {
    if (sqlState(error) === undefinedFunction) return { isOnRecord: false };
    throw error;
  }
}

/**
 * The limits of a run and of what it belongs to as they stand, where nobody locks anything to decide by them. One that is not on record
 * yet is as it is brought. Undefined where none is named, or where the database is of the version before.
 */
export async function runLimitsOf(
  client: PoolClient,
  tenantId: string,
  command: ReserveCommand,
): Promise<RunLimit[] | undefined> {
  const [named] = limitsAsked([spelled(command)]);
  if (!named) return undefined;
  const { id, limitUsd, parentId } = named;
  if (!(await hasRunLimits(client))) return undefined;
  const { rows } = await client.query<RunLimitJson>(
    `SELECT l.run_id AS "runId", l.ancestor_ids AS "ancestorIds", l.limit_usd::text AS "limitUsd", l.spent_usd::text AS "spentUsd",
            l.reserved_usd::text AS "reservedUsd"
     FROM copilot_internal.run_limits l
     WHERE l.tenant_id = $1 AND l.run_id IN (
       SELECT unnest(named.run_id || named.ancestor_ids) FROM copilot_internal.run_limits named
       WHERE named.tenant_id = $1 AND named.run_id = ANY ($2::uuid[]))`,
    [tenantId, parentId === undefined ? [id] : [id, parentId]],
  );
  const limits = rows.map(runLimitFrom);
  const parent = limits.find(({ runId }) => runId === parentId);
  if (limits.some(({ runId }) => runId === id) || (parentId !== undefined && !parent)) return limits;
  const ancestorIds = parent ? [parent.runId, ...parent.ancestorIds] : [];
  const own = limitUsd === undefined ? {} : { limitUsd: parseAmountUsd(limitUsd) };
  return [...limits, { runId: id, ancestorIds, ...own, spentUsd: 0n, reservedUsd: 0n }];
}

/** Whether a database is of this version, or of the one before, in which runs have no limits. */
const hasRunLimits = async (client: PoolClient): Promise<boolean> => {
  const { rows } = await client.query<{ name: string | null }>(
    `SELECT to_regclass('copilot_internal.run_limits')::text AS name`,
  );
  return rows[0]?.name != null;
};

/**
 * Under which id the limit of a run stands that a caller names: its own, or that of the turn that a conversation is in. Undefined where
 * the tenant has no such run, and no workflow that spends under that id.
 */
export async function limitOfRun(
  pool: Pool,
  { tenantId, runId }: { tenantId: string; runId: string },
): Promise<string | undefined> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<{ id: string }>(
      `SELECT coalesce(t.turn_id, r.run_id)::text AS id
       FROM copilot_internal.runs r
       LEFT JOIN copilot_internal.turns t ON t.run_id = r.run_id AND t.status = 'running'
       WHERE r.tenant_id = $1 AND r.run_id = $2`,
      [tenantId, runId],
    );
    if (rows[0] || !(await hasRunLimits(client))) return rows[0]?.id;
    const { rowCount } = await client.query(
      'SELECT 1 FROM copilot_internal.run_limits WHERE tenant_id = $1 AND run_id = $2',
      [tenantId, runId],
    );
    return rowCount ? runId : undefined;
  });
}

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
  return asTenant(pool, tenantId, async (client) => {
    if (!(await hasRunLimits(client))) return [];
    const { rows } = await client.query<RunPart>(
      `WITH own AS (
         SELECT run_id, ancestor_ids FROM copilot_internal.run_limits
         WHERE tenant_id = $1 AND (run_id = $2 OR run_id IN (SELECT turn_id FROM copilot_internal.turns WHERE run_id = $2)))
       SELECT run_id::text AS "runId", ancestor_ids[1]::text AS "parentRunId", trim_scale(limit_usd)::text AS "limitUsd",
              trim_scale(spent_usd)::text AS "spentUsd", trim_scale(reserved_usd)::text AS "reservedUsd"
       FROM copilot_internal.run_limits
       WHERE tenant_id = $1 AND (run_id IN (SELECT unnest(run_id || ancestor_ids) FROM own) OR ancestor_ids @> ARRAY[$2::uuid])
       ORDER BY cardinality(ancestor_ids), created_at, run_id LIMIT ${partsMax}`,
      [tenantId, runId],
    );
    return rows;
  });
}
