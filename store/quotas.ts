/** The quotas of a tenant and of its users: read to be shown and to wake who waits, and set. */
import { heldOf } from './books-sql';
import type { Labels } from '../core/labels';
import { withInEnvelopes } from './holds';
import { setLabelQuota, sumOfLabels } from './label-quotas';
import { planned } from './planned';
import { asTenant, type Pool, type PoolClient } from './pool';
import { scopeIdsOf, storedScope, type QuotaChange, type QuotaKey } from './quota-key';
import { viewOf, type QuotaRow, type StoredQuota } from './quota-rows';
import { refuseTooManyResources } from './resources';

/** Not a lease of the platform's quota, which is drawn as it is needed and so is no limit of the tenant's. */
export const isOwn = ({ scope }: Pick<StoredQuota, 'scope'>): boolean => scope !== 'platform';

/** Whose quotas are asked for, beside the tenant's. */
export interface Payers {
  userIds?: readonly string[];
  labels?: readonly Labels[];
}

/**
 * The quotas that bind a tenant, and these users and labels of it. One of scope `platform` is its own lease of the platform's quota: what others
 * spend is not its to know. One whose period has ended shows the current period, with nothing spent, as the next decision will make it.
 */
export async function listQuotas(pool: Pool, tenantId: string, payers: Payers = {}): Promise<StoredQuota[]> {
  return asTenant(pool, tenantId, (client) => quotasOf(client, tenantId, payers));
}

/** A tenant's own quotas, as far as they are shown at once. Leases of the platform's quotas are no limits of its own. */
export interface OwnQuotas {
  quotas: StoredQuota[];
  /** How many quotas of users there are beyond those. */
  moreUserQuotas: number;
  /** The same of labels. */
  moreLabelQuotas: number;
}

/**
 * Quotas of a tenant; of these users, as an array in SQL whose parameters follow the tenant, and of these labels, or of all where that is
 * said. Of a user or a value that is named and that nobody has seen yet they are what its first decision makes of the defaults.
 */
export async function selectQuotas(
  client: PoolClient,
  tenantId: string,
  {
    users,
    values = [],
    labels = [],
    max,
  }: { users: string; values?: readonly unknown[]; labels?: readonly Labels[] | 'all'; max?: number },
): Promise<StoredQuota[]> {
  const ofUsers = users === 'all' ? 'true' : `q.scope_id = ANY (${users})`;
  // Who asks for none finds what it looks for in a schema of the version before, too.
  const scopes = `copilot_internal.label_scopes($1, ARRAY(SELECT jsonb_array_elements($${values.length + 2}::jsonb))) AS s`;
  const [ofLabels, beyond, byDefault, named] =
    labels === 'all'
      ? ['true', 'NULL', '', []]
      : labels.length === 0
        ? ['false', 'NULL', '', []]
        : [
            `q.scope_id = ANY (ARRAY(SELECT s.scope_id FROM ${scopes}))`,
            `CASE WHEN q.scope = 'label' AND q.scope_id LIKE '%:other' THEN ARRAY(SELECT s.value FROM ${scopes} WHERE s.scope_id = q.scope_id) END`,
            `UNION ALL ${labelLimitsToCome(scopes)}`,
            [JSON.stringify(labels)],
          ];
  // Each by its key: a plan for any tenant would read all limits of one that has thousands.
  const stored = [
    "q.scope IN ('platform', 'tenant')",
    `q.scope = 'user' AND ${ofUsers}`,
    ...(ofLabels === 'false' ? [] : [`q.scope = 'label' AND ${ofLabels}`]),
  ].map((which) => `SELECT q.* FROM copilot_internal.cost_quotas q WHERE q.tenant_id = $1 AND ${which}`);
  const { rows } = await client.query<QuotaRow>(
    planned(
      `SELECT q.scope, q.scope_id, q.resource_type, q.period, trim_scale(q.limit_usd)::text AS limit_usd,
            trim_scale(q.topup_usd)::text AS topup_usd, trim_scale(q.current_spend_usd)::text AS spent_usd,
            trim_scale(q.reserved_usd)::text AS reserved_usd, q.warning_threshold::float8 AS warning_threshold,
            q.more_warning_thresholds::float8[] AS more_warning_thresholds, q.period_start, q.period_end, q.beyond_values,
            q.expiring_topups, q.topup_kept_usd, q.ended_at, floor(extract(epoch FROM now()) * 1000)::float8 AS now_ms
     FROM (
       SELECT q.scope, q.scope_id, q.resource_type, q.period, q.limit_usd, q.topup_usd, q.current_spend_usd, q.reserved_usd,
              q.warning_threshold, q.more_warning_thresholds, b.period_start, b.period_end,
              ${beyond} AS beyond_values, ${expiring}
       FROM (${stored.join(' UNION ALL ')}) AS q,
            copilot_internal.period_bounds(q.period, greatest(now(), q.period_start)) AS b
       ${users === 'all' ? '' : `UNION ALL ${userLimitsToCome(users)}`}
       ${byDefault}) AS q
     ORDER BY q.scope = 'label', q.scope = 'user', q.scope, q.scope_id, q.resource_type, q.period
     ${max === undefined ? '' : `LIMIT ${max}`}`,
      [tenantId, ...values, ...named],
    ),
  );
  return rows.map(viewOf);
}

/** What expires by itself; nothing in a schema of the version before. */
const expiring = `CASE WHEN q.topup_usd > 0 THEN to_jsonb(q) -> 'expiring_topups' END AS expiring_topups,
              CASE WHEN q.topup_usd > 0 THEN to_jsonb(q) ->> 'topup_kept_usd' END AS topup_kept_usd,
              CASE WHEN q.period_end <= now() THEN q.period_end END AS ended_at`;

/** By default, of users that have no limits of it yet: the next decision about one makes them so (`add_user_quotas`). */
const userLimitsToCome = (users: string): string =>
  `SELECT 'user', u.user_id, d.resource_type, d.period, d.limit_usd, 0,
          (SELECT coalesce(sum(amount_usd), 0) FROM copilot_internal.cost_records c
           WHERE c.tenant_id = $1 AND c.user_id = u.user_id AND d.resource_type IN ('all', c.resource)
             AND c.posted_at >= b.period_start AND c.posted_at < b.period_end),
          ${heldOf({ tenant: '$1', resource: 'd.resource_type', payer: 'r.user_id = u.user_id' })},
          d.warning_threshold, '{}'::numeric[], b.period_start, b.period_end, NULL, NULL, NULL, NULL
   FROM unnest(${users}) AS u (user_id) JOIN copilot_internal.user_quota_defaults d ON d.tenant_id = $1
   CROSS JOIN LATERAL copilot_internal.period_bounds(d.period, now()) AS b
   WHERE u.user_id IS NOT NULL AND NOT EXISTS (
     SELECT FROM copilot_internal.cost_quotas o WHERE o.tenant_id = $1 AND o.scope = 'user' AND o.scope_id = u.user_id
       AND o.resource_type = d.resource_type AND o.period = d.period)`;

/** By default, of values that nobody has seen yet: the first decision about one makes its limits so. That of `other` is there already. */
const labelLimitsToCome = (scopes: string): string =>
  `SELECT 'label', s.scope_id, d.resource_type, d.period, d.limit_usd, 0, 0, 0, d.warning_threshold, '{}'::numeric[], b.period_start,
          b.period_end, NULL, NULL, NULL, NULL
   FROM ${scopes} JOIN copilot_internal.label_quota_defaults d ON d.tenant_id = $1 AND d.key = s.key
   CROSS JOIN LATERAL copilot_internal.period_bounds(d.period, now()) AS b
   WHERE NOT EXISTS (
     SELECT FROM copilot_internal.cost_quotas o WHERE o.tenant_id = $1 AND o.scope = 'label' AND o.scope_id = s.scope_id
       AND o.resource_type = d.resource_type AND o.period = d.period)`;

/** `listQuotas` within the caller's transaction. */
export const quotasOf = (
  client: PoolClient,
  tenantId: string,
  { userIds = [], labels = [] }: Payers,
): Promise<StoredQuota[]> => selectQuotas(client, tenantId, { users: '$2::text[]', values: [userIds], labels });

/** As many quotas are shown at once. Those of the tenant itself come first, and are fewer. */
const shownMax = 500;

/** The tenant's own, and those of these users and labels, or the first by name. */
export async function ownQuotasOf(client: PoolClient, tenantId: string, payers?: Payers): Promise<OwnQuotas> {
  if (payers) {
    const quotas = (await quotasOf(client, tenantId, payers)).filter(isOwn);
    return { quotas: await withInEnvelopes(client, tenantId, quotas), moreUserQuotas: 0, moreLabelQuotas: 0 };
  }
  const [all, counted] = await Promise.all([
    selectQuotas(client, tenantId, { users: 'all', labels: 'all', max: shownMax }),
    client.query<{ scope: 'user' | 'label'; quotas: number }>(
      `SELECT scope, count(*)::integer AS quotas FROM copilot_internal.cost_quotas
       WHERE tenant_id = $1 AND scope IN ('user', 'label') GROUP BY scope`,
      [tenantId],
    ),
  ]);
  const more = (of: 'user' | 'label'): number =>
    (counted.rows.find(({ scope }) => scope === of)?.quotas ?? 0) - all.filter(({ scope }) => scope === of).length;
  const quotas = await withInEnvelopes(client, tenantId, all.filter(isOwn));
  return { quotas, moreUserQuotas: more('user'), moreLabelQuotas: more('label') };
}

/**
 * Sets limits, with an audit entry, all or none. A quota that is new starts with what its payers have already spent in
 * the period and hold reserved, so that making one late does not forget. False when there is no such tenant.
 */
export async function setQuotas(
  pool: Pool,
  {
    tenantId,
    changes,
    apiKeyId,
    reason,
    author = apiKeyId === undefined ? undefined : `API key ${apiKeyId}`,
  }: {
    tenantId: string;
    changes: readonly QuotaChange[];
    apiKeyId?: string | undefined;
    reason?: string | undefined;
    author?: string | undefined;
  },
): Promise<boolean> {
  const sums = await sumOfLabels(pool, tenantId, changes);
  const setting = async (client: PoolClient): Promise<boolean> => {
    const userIds = scopeIdsOf('user', changes);
    const { rows } = await client.query<{ known: boolean }>('SELECT copilot_internal.lock_quotas($1, $2) AS known', [
      tenantId,
      userIds,
    ]);
    if (!rows[0]?.known) return false;
    await beginPeriods(client, tenantId, changes);
    for (const change of changes) {
      if (change.scope === 'label') await setLabelQuota(client, tenantId, change, sums);
      else await setQuota(client, tenantId, change);
    }
    await refuseTooManyResources(client, tenantId);
    await client.query(
      `INSERT INTO copilot_internal.audit_entries (tenant_id, api_key_id, author, action, details)
       VALUES ($1, $2, $3, 'set_quotas', $4)`,
      [tenantId, apiKeyId ?? null, author ?? null, JSON.stringify({ quotas: changes, reason })],
    );
    return true;
  };
  return asTenant(pool, tenantId, setting, { holdsUp: true });
}

/**
 * Has the limits that an order is about stand as they do now, under the tenant's lock: their period, and what has expired of top-ups, go by
 * the limit of before.
 */
export async function beginPeriods(
  client: PoolClient,
  tenantId: string,
  quotas: readonly Pick<QuotaKey, 'scope' | 'scopeId'>[],
): Promise<void> {
  const labels = scopeIdsOf('label', quotas);
  const userIds = scopeIdsOf('user', quotas);
  await client.query('SELECT copilot_internal.reset_ended_periods($1, clock_timestamp(), $2)', [tenantId, userIds]);
  if (labels.length > 0)
    await client.query('SELECT copilot_internal.reset_label_periods($1, clock_timestamp(), $2)', [tenantId, labels]);
}

/** Sets the limit of a tenant or a user, under the tenant's lock. */
export async function setQuota(client: PoolClient, tenantId: string, change: QuotaChange): Promise<void> {
  await client.query(
    `INSERT INTO copilot_internal.cost_quotas AS q (tenant_id, scope, scope_id, resource_type, period, limit_usd,
       warning_threshold, more_warning_thresholds, period_start, period_end, current_spend_usd, reserved_usd)
     SELECT $1, $9, $3, $4, $5, $6::numeric, coalesce($7::numeric, 0.80), coalesce($8::numeric[], '{}'), b.period_start, b.period_end,
       (SELECT coalesce(sum(amount_usd), 0) FROM copilot_internal.cost_records
        WHERE tenant_id = $1 AND posted_at >= b.period_start AND posted_at < b.period_end
          AND ($4 = 'all' OR resource = $4) AND ($2 = 'tenant' OR user_id = $3)),
       ${heldOf({ tenant: '$1', resource: '$4', payer: `($2 = 'tenant' OR r.user_id = $3)` })}
     FROM copilot_internal.period_bounds($5, clock_timestamp()) AS b
     ON CONFLICT (tenant_id, scope, scope_id, resource_type, period) DO UPDATE
     SET limit_usd = excluded.limit_usd, warning_threshold = coalesce($7::numeric, q.warning_threshold),
         more_warning_thresholds = coalesce($8::numeric[], q.more_warning_thresholds), from_default = false,
         updated_at = clock_timestamp()`,
    [
      tenantId,
      change.scope,
      change.scopeId,
      change.resourceType,
      change.period,
      change.limitUsd,
      change.warningThreshold ?? null,
      change.moreWarningThresholds ?? null,
      storedScope(change),
    ],
  );
}
