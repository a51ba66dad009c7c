/** What was spent. Whole days are read from their sums, the days at the ends and the spend of single runs from the ledger. */
import { dayMs } from '../core/budget/periods';
import type { UsageGroup } from '../core/usage-groups';
import { databaseLimits } from './connections';
import { asTenantTaking, type Pool, type PoolClient } from './pool';

const ledgerColumns: Record<UsageGroup, string> = {
  model: "coalesce(model, '')",
  resource: 'resource',
  user: "coalesce(user_id, '')",
  run: "coalesce(run_id::text, '')",
  day: "to_char(posted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
  kind: 'kind',
};
const dailyColumns: Record<Exclude<UsageGroup, 'run'>, string> = {
  model: 'model',
  resource: 'resource',
  user: 'user_id',
  day: "to_char(day, 'YYYY-MM-DD')",
  kind: 'kind',
};

export interface UsageLine {
  group: string;
  costUsd: string;
  /** Of it, what was charged by estimate and has not been corrected or confirmed since. */
  unverifiedUsd: string;
  /** Paid operations; corrections and adjustments are none. */
  operations: number;
}

export interface UsageAsked {
  tenantId: string;
  from: Date;
  to: Date;
  groupBy: UsageGroup;
}

export interface Usage {
  /** The dearest groups, at most `linesMax`. */
  lines: UsageLine[];
  /** Of all groups. */
  costUsd: string;
  groups: number;
}

/** As many groups as are answered at once. */
const linesMax = 1_000;

/** The spend of a tenant from one moment to before another, by group, dearest first. */
export async function readUsage(pool: Pool, asked: UsageAsked): Promise<Usage> {
  return asTenantTaking(databaseLimits.patientMs)(pool, asked.tenantId, async (client) => {
    const { text, values } = usageQuery(asked);
    const { rows } = await client.query<UsageLine & { total: string; groups: number }>(
      `WITH spent AS (${text})
       SELECT "group", "costUsd", "unverifiedUsd", operations, trim_scale(sum(cost) OVER ())::text AS total,
              (count(*) OVER ())::integer AS groups
       FROM spent ORDER BY cost DESC, "group" LIMIT ${linesMax}`,
      values,
    );
    const lines = rows.map(({ total: _, groups: __, ...line }) => line);
    return { lines, costUsd: rows[0]?.total ?? '0', groups: rows[0]?.groups ?? 0 };
  });
}

/** All groups, dearest first, some at a time. */
export async function* allUsage(pool: Pool, asked: UsageAsked): AsyncGenerator<UsageLine[], void> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    const { text, values } = usageQuery(asked);
    await client.query('BEGIN READ ONLY; SET LOCAL idle_in_transaction_session_timeout = 60000');
    await client.query("SELECT set_config('spendlock.tenant_id', $1, true)", [asked.tenantId]);
    await client.query(
      `DECLARE lines NO SCROLL CURSOR FOR SELECT "group", "costUsd", "unverifiedUsd", operations
       FROM (${text}) AS spent ORDER BY cost DESC, "group"`,
      values,
    );
    for (;;) {
      const { rows } = await client.query<UsageLine>(`FETCH ${linesMax} FROM lines`);
      if (rows.length > 0) yield rows;
      if (rows.length < linesMax) return;
    }
  } catch (error) {
    broken = error as Error;
    throw error;
  } finally {
    await client.query('ROLLBACK').catch((error: Error) => (broken = error));
    client.release(broken);
  }
}

/** The dearest groups, within the caller's transaction. */
export async function usageOf(client: PoolClient, asked: UsageAsked): Promise<UsageLine[]> {
  const { text, values } = usageQuery(asked);
  const { rows } = await client.query<UsageLine>(
    `SELECT "group", "costUsd", "unverifiedUsd", operations FROM (${text}) AS spent ORDER BY cost DESC, "group" LIMIT ${linesMax}`,
    values,
  );
  return rows;
}

/** What was spent by each group. */
function usageQuery({ tenantId, from, to, groupBy }: UsageAsked): { text: string; values: unknown[] } {
  const firstDay = Math.ceil(from.getTime() / dayMs) * dayMs;
  const endOfDays = Math.floor(to.getTime() / dayMs) * dayMs;
  const hasDays = groupBy !== 'run' && firstDay < endOfDays;
  const fromLedger = (between: string): string =>
    `SELECT ${ledgerColumns[groupBy]} AS name, amount_usd AS cost,
            unverified_usd AS unverified, (entry = 'commit')::integer AS operations
     FROM copilot_internal.cost_records WHERE tenant_id = $1 AND ${between}`;
  const parts = hasDays
    ? [
        `SELECT ${dailyColumns[groupBy]}, cost_usd, unverified_usd, operations FROM copilot_internal.daily_costs
         WHERE tenant_id = $1 AND day >= ($4::timestamptz AT TIME ZONE 'UTC')::date AND day < ($5::timestamptz AT TIME ZONE 'UTC')::date`,
        fromLedger('posted_at >= $2 AND posted_at < $4'),
        fromLedger('posted_at >= $5 AND posted_at < $3'),
      ]
    : [fromLedger('posted_at >= $2 AND posted_at < $3')];
  return {
    text: `SELECT name AS "group", trim_scale(sum(cost))::text AS "costUsd", trim_scale(sum(unverified))::text AS "unverifiedUsd",
            sum(operations)::integer AS operations, sum(cost) AS cost
     FROM (${parts.join(' UNION ALL ')}) AS spent (name, cost, unverified, operations) GROUP BY name`,
    values: [tenantId, from, to, ...(hasDays ? [new Date(firstDay), new Date(endOfDays)] : [])],
  };
}
