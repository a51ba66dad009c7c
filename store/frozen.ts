/** Who may not reserve for now: a tenant, or some of its users. */
import type { PoolClient } from './pool';

/** Who may not reserve for now, and why. */
export interface Frozen {
  /** Of the whole tenant; null when it is not frozen. */
  frozenReason: string | null;
  /** Its users that are frozen themselves, the first hundred by name. */
  frozenUsers: { userId: string; reason: string }[];
}

/** Who is frozen, within the caller's transaction. */
export async function frozenOf(client: PoolClient, tenantId: string): Promise<Frozen> {
  const { rows } = await client.query<Frozen>(
    `SELECT CASE WHEN t.frozen_at IS NOT NULL THEN coalesce(t.frozen_reason, '') END AS "frozenReason",
            coalesce((SELECT jsonb_agg(jsonb_build_object('userId', f.user_id, 'reason', f.frozen_reason) ORDER BY f.user_id)
                      FROM (SELECT user_id, frozen_reason FROM copilot_internal.frozen_users
                            WHERE tenant_id = t.tenant_id ORDER BY user_id LIMIT 100) AS f),
                     '[]') AS "frozenUsers"
     FROM copilot_internal.tenants t WHERE t.tenant_id = $1`,
    [tenantId],
  );
  return rows[0] ?? { frozenReason: null, frozenUsers: [] };
}
