/** What of a tenant's money comes back by itself, and when. */
import type { Hold } from '../core/budget/retry-after';
import { parseUsd } from '../core/money';
import { asTenant, type Pool, type PoolClient } from './pool';

/** `is_released_by_expiry`, which the schema of the version before does not have: use that a version later. */
const isReleasedByExpiry = `coalesce(on_expiry = 'release', claimed_at IS NULL)`;

/** The tenant's holds, those that run out first. More than these are not needed to say when room is made. */
export async function holdsOf(client: PoolClient, tenantId: string): Promise<Hold[]> {
  const { rows } = await client.query<
    Omit<Hold, 'grantedUsd' | 'userId'> & { grantedUsd: string; userId: string | null }
  >(
    `SELECT operation_id AS "operationId", user_id AS "userId", resource, granted_usd::text AS "grantedUsd",
            (extract(epoch FROM expires_at) * 1000)::float8 AS "expiresAtMs"
     FROM copilot_internal.reservations
     WHERE tenant_id = $1 AND status = 'granted' AND outcome IS NULL
       AND ${isReleasedByExpiry}
     ORDER BY expires_at LIMIT 1000`,
    [tenantId],
  );
  return rows.map((row) => ({ ...row, userId: row.userId ?? undefined, grantedUsd: parseUsd(row.grantedUsd) }));
}

/** The same, by itself. */
export const readHolds = (pool: Pool, tenantId: string): Promise<Hold[]> =>
  asTenant(pool, tenantId, (client, commitWith) => commitWith(holdsOf(client, tenantId)));
