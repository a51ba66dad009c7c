/** What of a tenant's money comes back by itself, and when; and what is due to be settled. */
import type { Hold } from '../core/budget/retry-after';
import { labelsFrom } from '../core/labels';
import { parseUsd } from '../core/money';
import { asTenant, type Pool, type PoolClient } from './pool';

/** `is_released_by_expiry`, which the schema of the version before does not have: use that a version later. */
const isReleasedByExpiry = `coalesce(on_expiry = 'release', claimed_at IS NULL)`;

/** The tenant's holds, those that run out first. More than these are not needed to say when room is made. */
export async function holdsOf(client: PoolClient, tenantId: string): Promise<Hold[]> {
  const { rows } = await client.query<
    Omit<Hold, 'grantedUsd' | 'userId' | 'labels'> & { grantedUsd: string; userId: string | null; labels: unknown }
  >(
    // Where the schema is of the version before, the labels are those of the first row: none.
    `SELECT r.* FROM (SELECT NULL::jsonb AS labels) AS otherwise CROSS JOIN LATERAL (
       SELECT operation_id AS "operationId", user_id AS "userId", resource, granted_usd::text AS "grantedUsd",
              (extract(epoch FROM expires_at) * 1000)::float8 AS "expiresAtMs", labels
       FROM copilot_internal.reservations
       WHERE tenant_id = $1 AND status = 'granted' AND outcome IS NULL
         AND ${isReleasedByExpiry}
       ORDER BY expires_at LIMIT 1000) AS r`,
    [tenantId],
  );
  return rows.map((row) => ({
    ...row,
    userId: row.userId ?? undefined,
    labels: labelsFrom(row.labels),
    grantedUsd: parseUsd(row.grantedUsd),
  }));
}

/** The same, by itself. */
export const readHolds = (pool: Pool, tenantId: string): Promise<Hold[]> =>
  asTenant(pool, tenantId, (client, commitWith) => commitWith(holdsOf(client, tenantId)));

/** How many overdue reservations, and how many unfolded outcomes, one batch settles beside its commands. */
export const dueAtOnceMax = 500;

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
