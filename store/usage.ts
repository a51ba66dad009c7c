/** What was spent. Whole days are read from their sums, the days at the ends and the spend of single runs from the ledger. */
import { dayMs } from '../core/periods';
import { databaseLimits } from './connections';
import { asTenantTaking, type Pool, type PoolClient } from './pool';

export const usageGroups = ['model', 'resource', 'user', 'run', 'day', 'kind'] as const;
export type UsageGroup = (typeof usageGroups)[number];

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

/** The spend of a tenant from one moment to before another, by group, dearest first. */
export async function readUsage(pool: Pool, asked: UsageAsked): Promise<UsageLine[]> {
  return asTenantTaking(databaseLimits.patientMs)(pool, asked.tenantId, (client) => usageOf(client, asked));
}

/** The same within the caller's transaction. */
export async function usageOf(client: PoolClient, { tenantId, from, to, groupBy }: UsageAsked): Promise<UsageLine[]> {
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
  const { rows } = await client.query<UsageLine>(
    `SELECT name AS "group", trim_scale(sum(cost))::text AS "costUsd", trim_scale(sum(unverified))::text AS "unverifiedUsd",
            sum(operations)::integer AS operations
     FROM (${parts.join(' UNION ALL ')}) AS spent (name, cost, unverified, operations)
     GROUP BY name ORDER BY sum(cost) DESC, name LIMIT 1000`,
    [tenantId, from, to, ...(hasDays ? [new Date(firstDay), new Date(endOfDays)] : [])],
  );
  return rows;
}
