/** What of a tenant's money comes back by itself, and when; and what is due to be settled. */
import { holdsMax, type Hold } from '../core/budget/retry-after';
import { covers, labelOfScope, standingOf, type Quota } from '../core/budget/quotas';
import { labelsFrom, otherValue, type Labels } from '../core/labels';
import { formatUsd, parseUsd, sumUsd } from '../core/money';
import { asTenant, type Pool, type PoolClient } from './pool';
import type { StoredQuota } from './quota-rows';

/** `is_released_by_expiry`, which the schema of the version before does not have: use that a version later. */
const isReleasedByExpiry = `coalesce(r.on_expiry = 'release', r.claimed_at IS NULL)`;

type Bound = Pick<Quota, 'scope' | 'scopeId'>;

/**
 * The tenant's holds, those that run out first. Their labels are as these quotas count them. When the money of one comes back is said here
 * and by core's `heldIn` alike.
 */
export const holdsOf = (client: PoolClient, tenantId: string, quotas: readonly Bound[]): Promise<Hold[]> =>
  openOf(client, {
    ...{ tenantId, quotas },
    which: `e.operation_id IS NOT NULL OR ${isReleasedByExpiry} ORDER BY r.expires_at LIMIT ${holdsMax}`,
  });

/** Quotas with what of what is reserved of them envelopes and their parts hold. */
export async function withInEnvelopes(
  client: PoolClient,
  tenantId: string,
  quotas: readonly StoredQuota[],
): Promise<StoredQuota[]> {
  if (quotas.every(({ reservedUsd }) => parseUsd(reservedUsd) === 0n)) return [...quotas];
  const open = await openOf(client, { tenantId, quotas, which: 'e.operation_id IS NOT NULL' });
  return quotas.map((quota) => {
    const standing = standingOf(quota);
    const usd = sumUsd(open.filter((hold) => covers(standing, hold)).map(({ grantedUsd }) => grantedUsd));
    return usd === 0n ? quota : { ...quota, inEnvelopesUsd: formatUsd(usd) };
  });
}

/** Open reservations `r`, each with its open envelope `e`. */
async function openOf(
  client: PoolClient,
  { tenantId, quotas, which }: { tenantId: string; quotas: readonly Bound[]; which: string },
): Promise<Hold[]> {
  const { rows } = await client.query<
    Omit<Hold, 'grantedUsd' | 'userId' | 'labels' | 'heldOn' | 'freesAtMs'> & {
      grantedUsd: string;
      userId: string | null;
      labels: unknown;
      heldOn: string[] | null;
      freesAtMs: number | null;
    }
  >(
    // Where the schema is of the version before, what it lacks is that of the first row: none.
    `SELECT r.operation_id AS "operationId", r.user_id AS "userId", r.resource, r.granted_usd::text AS "grantedUsd",
            r.now_labels AS labels, r.now_held_on AS "heldOn", e.operation_id IS NOT NULL AS "inEnvelope",
            (extract(epoch FROM CASE WHEN e.attempt IS NULL THEN greatest(r.expires_at, e.expires_at) END) * 1000)::float8 AS "freesAtMs"
     FROM (SELECT NULL::jsonb AS labels, NULL::text[] AS held_on, NULL::uuid AS parent_id) AS otherwise
     CROSS JOIN LATERAL (
       SELECT o.*, labels AS now_labels, held_on AS now_held_on,
         CASE WHEN parent_id IS NULL AND held_on IS NOT NULL THEN operation_id ELSE parent_id END AS envelope_id
       FROM copilot_internal.reservations o
       WHERE tenant_id = $1 AND status = 'granted' AND outcome IS NULL) AS r
     LEFT JOIN copilot_internal.reservations e
       ON e.tenant_id = $1 AND e.operation_id = r.envelope_id AND e.status = 'granted'
     WHERE ${which}`,
    [tenantId],
  );
  const holds = rows.map((row) => ({
    ...row,
    userId: row.userId ?? undefined,
    heldOn: row.heldOn ?? undefined,
    freesAtMs: row.freesAtMs ?? undefined,
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
