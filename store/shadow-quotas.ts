/**
 * Limits that are watched and refuse nothing: they count, warn, and say once a period what they would have refused. They are rows of scopes
 * of their own, so that one may stand beside a limit that binds (docs/decisions/0062-shadow-and-what-if.md).
 */
import type { PoolClient } from './pool';
import { viewOf, type QuotaRow, type StoredQuota } from './quota-rows';
import type { Payers } from './quotas';

/** As many are shown at once. */
const shownMax = 500;

/** Those of a tenant, and of these users and labels or of the first by name. */
export async function shadowsOf(client: PoolClient, tenantId: string, payers?: Payers): Promise<StoredQuota[]> {
  const { userIds = [], labels = [] } = payers ?? {};
  // A database from before labels has no function for them.
  const ofLabels =
    labels.length === 0
      ? ''
      : ` OR (q.scope = 'shadow_label' AND q.scope_id IN (
           SELECT s.scope_id FROM copilot_internal.label_scopes($1, ARRAY(SELECT jsonb_array_elements($4::jsonb))) AS s))`;
  const { rows } = await client.query<QuotaRow>(
    `SELECT replace(q.scope, 'shadow_', '') AS scope, q.scope_id, q.resource_type, q.period, trim_scale(q.limit_usd)::text AS limit_usd,
            '0' AS topup_usd, trim_scale(q.current_spend_usd)::text AS spent_usd, trim_scale(q.reserved_usd)::text AS reserved_usd,
            q.warning_threshold::float8 AS warning_threshold, q.more_warning_thresholds::float8[] AS more_warning_thresholds,
            b.period_start, b.period_end,
            CASE WHEN q.period_end <= now() THEN q.period_end END AS ended_at, floor(extract(epoch FROM now()) * 1000)::float8 AS now_ms
     FROM copilot_internal.cost_quotas q,
          copilot_internal.period_bounds(q.period, greatest(now(), q.period_start)) AS b
     WHERE q.tenant_id = $1 AND q.scope IN ('shadow_tenant', 'shadow_user', 'shadow_label')
       AND ($2 OR q.scope = 'shadow_tenant' OR (q.scope = 'shadow_user' AND q.scope_id = ANY ($3))${ofLabels})
     ORDER BY q.scope <> 'shadow_tenant', q.scope, q.scope_id, q.resource_type, q.period LIMIT ${shownMax}`,
    [tenantId, payers === undefined, userIds, ...(labels.length === 0 ? [] : [JSON.stringify(labels)])],
  );
  return rows.map(viewOf);
}
