/** How operators freeze a tenant, or one of its users, and have it reserve again. */
import type { Freeze } from '../core/budget/denials';
import type { Operator } from './operator';
import { change, type WithReason } from './change';
import type { Pool, PoolClient } from './pool';

/** Why it was frozen before an order; null when it was not. */
export interface FrozenBefore {
  reasonBefore: string | null;
}

interface FreezeOrder extends WithReason {
  tenantId: string;
  by: Operator;
  /** The whole tenant when absent. */
  userId?: string | undefined;
  /** Whether it reserves nothing more from now on, or again. What is reserved goes on in either case. */
  to: boolean;
  /** The last statement of the transaction: a repeat finds what the first one left. */
  keepWith?: (client: PoolClient, before: FrozenBefore) => Promise<void>;
}

/** Freezes a tenant, or one of its users, or has it reserve again. */
export async function setFrozen(pool: Pool, order: FreezeOrder): Promise<FrozenBefore> {
  const { tenantId, by, userId, reason, to, keepWith } = order;
  const finish = (client: PoolClient, before: FrozenBefore): Promise<void> =>
    keepWith ? keepWith(client, before) : Promise.resolve();
  const ordered = { tenantId, by, action: to ? 'freeze' : 'unfreeze', details: { userId, reason }, finish };
  let before: FrozenBefore = { reasonBefore: null };
  await change(pool, ordered, async (client) => {
    before = { reasonBefore: await reasonOf(client, order) };
    // Nothing is lifted, and nothing noted.
    if (!to && before.reasonBefore === null) return undefined;
    await (userId === undefined ? setTenant(client, order) : setUser(client, { ...order, userId }));
    return before;
  });
  return before;
}

/** Who may be frozen: a tenant, or a user of it. */
export interface FrozenPayer {
  tenantId: string;
  userId?: string | undefined;
}

/** What keeps a payer from reserving, if anything does: the freeze of its tenant comes before its own. */
export async function freezeOf(client: PoolClient, { tenantId, userId }: FrozenPayer): Promise<Freeze | undefined> {
  const ofTenant = await reasonOf(client, { tenantId });
  if (ofTenant !== null) return { tenantId, reason: ofTenant };
  const ofUser = userId === undefined ? null : await reasonOf(client, { tenantId, userId });
  return ofUser === null ? undefined : { tenantId, userId, reason: ofUser };
}

async function reasonOf(client: PoolClient, { tenantId, userId }: FrozenPayer): Promise<string | null> {
  const { rows } = await client.query<{ reason: string | null }>(
    userId === undefined
      ? `SELECT CASE WHEN frozen_at IS NOT NULL THEN coalesce(frozen_reason, '') END AS reason
         FROM copilot_internal.tenants WHERE tenant_id = $1`
      : `SELECT frozen_reason AS reason FROM copilot_internal.frozen_users WHERE tenant_id = $1 AND user_id = $2`,
    userId === undefined ? [tenantId] : [tenantId, userId],
  );
  return rows[0]?.reason ?? null;
}

const setTenant = (client: PoolClient, { tenantId, reason, to }: FreezeOrder): Promise<unknown> =>
  client.query(
    `UPDATE copilot_internal.tenants SET frozen_at = CASE WHEN $2 THEN coalesce(frozen_at, clock_timestamp()) END,
       frozen_reason = CASE WHEN $2 THEN $3 END
     WHERE tenant_id = $1`,
    [tenantId, to, reason ?? ''],
  );

const setUser = (
  client: PoolClient,
  { tenantId, userId, reason, to }: FreezeOrder & { userId: string },
): Promise<unknown> =>
  to
    ? client.query(
        `INSERT INTO copilot_internal.frozen_users (tenant_id, user_id, frozen_reason) VALUES ($1, $2, $3)
         ON CONFLICT (tenant_id, user_id) DO UPDATE SET frozen_reason = excluded.frozen_reason`,
        [tenantId, userId, reason ?? ''],
      )
    : client.query('DELETE FROM copilot_internal.frozen_users WHERE tenant_id = $1 AND user_id = $2', [
        tenantId,
        userId,
      ]);
