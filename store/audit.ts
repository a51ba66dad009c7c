/** What operators changed, by whom, when and why; and the alerts that were raised. Both are written by what changes and what spends. */
import { asTenant, type Pool, type PoolClient } from './pool';

/** What an operator changed. */
export interface AuditEntry {
  auditEntryId: string;
  /** Null for what is of no tenant: prices, platform quotas, keys of the administration, tenants that are gone. */
  tenantId: string | null;
  action: string;
  details: Record<string, unknown>;
  author: string | null;
  apiKeyId: string | null;
  createdAt: Date;
}

/** That a quota came to a share of its limit, refused for the first time in its period, or was passed by what a call cost. */
export interface Alert {
  alertId: string;
  kind: 'quota_warning' | 'quota_exceeded' | 'overrun' | 'money_request';
  /** What was crossed, of a warning. */
  threshold: number | null;
  details: Record<string, unknown>;
  raisedAt: Date;
  sentAt: Date | null;
}

export interface PageAsked {
  /** The last of the page before. */
  after?: string | undefined;
  limit: number;
}

/** Versions before wrote a list where limits were set without a reason, and of prices. */
const detailsAsObject = `CASE WHEN jsonb_typeof(details) = 'array'
  THEN jsonb_build_object(CASE action WHEN 'add_prices' THEN 'priceVersions' ELSE 'quotas' END, details) ELSE details END`;

/** The newest first: those of a tenant, or those of none. */
export async function listAuditEntries(
  pool: Pool,
  { tenantId, action, after, limit }: PageAsked & { tenantId: string | undefined; action?: string | undefined },
): Promise<AuditEntry[]> {
  return asTenant(pool, tenantId ?? '', async (client) => {
    const { rows } = await client.query<AuditEntry>(
      `SELECT audit_entry_id::text AS "auditEntryId", tenant_id AS "tenantId", action, ${detailsAsObject} AS details, author,
         api_key_id AS "apiKeyId", created_at AS "createdAt"
       FROM copilot_internal.audit_entries
       WHERE tenant_id IS NOT DISTINCT FROM $1 AND ($2::text IS NULL OR action = $2)
         AND ($3::bigint IS NULL OR audit_entry_id < $3)
       ORDER BY audit_entry_id DESC LIMIT $4`,
      [tenantId ?? null, action ?? null, after ?? null, limit],
    );
    return rows;
  });
}

/** The newest first. */
export const listAlerts = (pool: Pool, { tenantId, ...page }: PageAsked & { tenantId: string }): Promise<Alert[]> =>
  asTenant(pool, tenantId, (client) => alertsOf(client, tenantId, page));

/** The same within the caller's transaction. */
export async function alertsOf(client: PoolClient, tenantId: string, { after, limit }: PageAsked): Promise<Alert[]> {
  const { rows } = await client.query<Alert>(
    `SELECT alert_id AS "alertId", kind, threshold::float8 AS threshold, details, raised_at AS "raisedAt", sent_at AS "sentAt"
     FROM copilot_internal.quota_alerts
     WHERE tenant_id = $1
       AND ($2::uuid IS NULL OR (raised_at, alert_id) <
         (SELECT last.raised_at, last.alert_id FROM copilot_internal.quota_alerts AS last WHERE last.alert_id = $2))
     ORDER BY raised_at DESC, alert_id DESC LIMIT $3`,
    [tenantId, after ?? null, limit],
  );
  return rows;
}
