/** What of a tenant's money comes back by itself, and when; and what is due to be settled. */
import type { Hold } from '../core/budget/retry-after';
import { labelOfScope, type Quota } from '../core/budget/quotas';
import { labelsFrom, otherValue, type Labels } from '../core/labels';
import { parseUsd } from '../core/money';
import { asTenant, type Pool, type PoolClient } from './pool';

/** `is_released_by_expiry`, which the schema of the version before does not have: use that a version later. */
const isReleasedByExpiry = `coalesce(on_expiry = 'release', claimed_at IS NULL)`;

type Bound = Pick<Quota, 'scope' | 'scopeId'>;

/**
 * The tenant's holds, those that run out first. More than these are not needed to say when room is made. Their labels are as these quotas
 * count them.
 */
export async function holdsOf(client: PoolClient, tenantId: string, quotas: readonly Bound[]): Promise<Hold[]> {
  const { rows } = await client.query<
    Omit<Hold, 'grantedUsd' | 'userId' | 'labels' | 'heldOn'> & {
      grantedUsd: string;
      userId: string | null;
      labels: unknown;
      heldOn: string[] | null;
    }
  >(
    // Where the schema is of the version before, labels and what a hold is held on are those of the first row: none.
    `SELECT r.* FROM (SELECT NULL::jsonb AS labels, NULL::text[] AS held_on) AS otherwise CROSS JOIN LATERAL (
       SELECT operation_id AS "operationId", user_id AS "userId", resource, granted_usd::text AS "grantedUsd",
              (extract(epoch FROM expires_at) * 1000)::float8 AS "expiresAtMs", labels, held_on AS "heldOn"
       FROM copilot_internal.reservations
       WHERE tenant_id = $1 AND status = 'granted' AND outcome IS NULL
         AND ${isReleasedByExpiry}
       ORDER BY expires_at LIMIT 1000) AS r`,
    [tenantId],
  );
  const holds = rows.map((row) => ({
    ...row,
    userId: row.userId ?? undefined,
    heldOn: row.heldOn ?? undefined,
    labels: labelsFrom(row.labels),
    grantedUsd: parseUsd(row.grantedUsd),
  }));
  return asCounted(client, { tenantId, quotas, holds });
}

/**
 * Holds with `other` in place of values that count for it. Whoever asks is bound by a limit of `other` only where its key has all the
 * values that it tells apart: then each value that is not among them counts for it too.
 */
async function asCounted(
  client: PoolClient,
  { tenantId, quotas, holds }: { tenantId: string; quotas: readonly Bound[]; holds: Hold[] },
): Promise<Hold[]> {
  const keys = new Set(
    quotas
      .filter(({ scope }) => scope === 'label')
      .map(({ scopeId }) => labelOfScope(scopeId))
      .flatMap(([key, value]) => (value === otherValue ? [key] : [])),
  );
  const named = holds.flatMap(({ labels = {} }) => Object.entries(labels).filter(([key]) => keys.has(key)));
  if (named.length === 0) return holds;
  const { rows } = await client.query<{ key: string; value: string }>(
    `SELECT DISTINCT h.key, h.value FROM unnest($2::text[], $3::text[]) AS h (key, value)
     WHERE (SELECT true FROM copilot_internal.label_values v
            WHERE v.tenant_id = $1 AND v.key = h.key AND v.value = h.value LIMIT 1) IS NULL`,
    [tenantId, named.map(([key]) => key), named.map(([, value]) => value)],
  );
  const beyond = new Set(rows.map(({ key, value }) => `${key}:${value}`));
  const counted = (labels: Labels): Labels =>
    Object.fromEntries(
      Object.entries(labels).map(([key, value]) => [key, beyond.has(`${key}:${value}`) ? otherValue : value]),
    );
  return holds.map((hold) => (hold.labels ? { ...hold, labels: counted(hold.labels) } : hold));
}

/** The same, by itself. */
export const readHolds = (pool: Pool, tenantId: string, quotas: readonly Bound[]): Promise<Hold[]> =>
  asTenant(pool, tenantId, (client) => holdsOf(client, tenantId, quotas));

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
