/** What was spent, summed from the ledger. */
import { asTenant, type Pool } from './pool';

export const usageGroups = ['model', 'resource', 'user', 'run', 'day', 'kind'] as const;
export type UsageGroup = (typeof usageGroups)[number];

const columns: Record<UsageGroup, string> = {
  model: "coalesce(model, '')",
  resource: 'resource',
  user: "coalesce(user_id, '')",
  run: "coalesce(run_id::text, '')",
  day: "to_char(posted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
  kind: 'kind',
};

export interface UsageLine {
  group: string;
  costUsd: string;
  /** Of it, what was charged by estimate and is not verified. */
  unverifiedUsd: string;
  operations: number;
}

/** The spend of a tenant from one moment to before another, by group, dearest first. */
export async function readUsage(
  pool: Pool,
  { tenantId, from, to, groupBy }: { tenantId: string; from: Date; to: Date; groupBy: UsageGroup },
): Promise<UsageLine[]> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<{ group: string; cost: string; unverified: string; operations: number }>(
      `SELECT ${columns[groupBy]} AS group, trim_scale(sum(amount_usd))::text AS cost,
              trim_scale(coalesce(sum(amount_usd) FILTER (WHERE settlement = 'unverified'), 0))::text AS unverified,
              count(DISTINCT operation_id)::integer AS operations
       FROM copilot_internal.cost_records WHERE tenant_id = $1 AND posted_at >= $2 AND posted_at < $3
       GROUP BY 1 ORDER BY sum(amount_usd) DESC, 1 LIMIT 1000`,
      [tenantId, from, to],
    );
    return rows.map((row) => ({
      group: row.group,
      costUsd: row.cost,
      unverifiedUsd: row.unverified,
      operations: row.operations,
    }));
  });
}
