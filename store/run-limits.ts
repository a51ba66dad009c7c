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

/**
 * Puts a run's limit on record, so that it binds those that belong to the run before it has spent anything itself. What is there stays:
 * answers why it cannot be as asked. A database of the version before has no place for it, and its workflow counts for itself.
 */
export async function openRunLimit(
  pool: Pool,
  tenantId: string,
  runLimit: RunLimitRef,
): Promise<{ code: RejectionCode; message: string } | undefined> {
  try {
    return await asTenant(pool, tenantId, async (client) => {
      await client.query('SELECT copilot_internal.lock_tenant($1)', [tenantId]);
      const { rows } = await client.query<{ limits: RunLimitJson[] }>(
        'SELECT copilot_internal.lock_run_limits($1, $2, $3) AS limits',
        [tenantId, JSON.stringify([runLimit]), []],
      );
      const known = new Map((rows[0]?.limits ?? []).map((limit) => [limit.runId, runLimitFrom(limit)]));
      const named = limitsNamed(known, runLimit);
      return 'type' in named && named.type === 'rejected' ? { code: named.code, message: named.message } : undefined;
    });
  } catch (error) {
    if (sqlState(error) === undefinedFunction) return undefined;
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
  const { rows: tables } = await client.query<{ name: string | null }>(
    `SELECT to_regclass('copilot_internal.run_limits')::text AS name`,
  );
  if (!tables[0]?.name) return undefined;
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
