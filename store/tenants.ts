/** Tenants: made, found, deleted, and their policy. A new one gets its default quotas from a trigger. */
import type { TenantRole } from '../core/roles';
import { addApiKey, hasApiKey, holdApiKey } from './api-keys';
import { databaseLimits } from './connections';
import { asTenant, asTenantTaking, type Pool, type PoolClient } from './pool';

export interface Tenant {
  tenantId: string;
  name: string;
  createdAt: Date;
}

/** Makes a tenant. Undefined when there is one of that id already; nothing is changed then. */
export async function createTenant(pool: Pool, order: NewTenant): Promise<Tenant | undefined> {
  return asTenant(pool, order.tenantId, (client) => addTenant(client, order));
}

export interface NewTenant {
  tenantId: string;
  name?: string | undefined;
}

async function addTenant(client: PoolClient, { tenantId, name = '' }: NewTenant): Promise<Tenant | undefined> {
  const { rows } = await client.query<{ created_at: Date }>(
    `INSERT INTO copilot_internal.tenants (tenant_id, name) VALUES ($1, $2)
     ON CONFLICT DO NOTHING RETURNING created_at`,
    [tenantId, name],
  );
  return rows[0] && { tenantId, name, createdAt: rows[0].created_at };
}

/** Of the key that is made with a tenant: what its own programs need, and no permission to approve or to lift a limit. */
export const firstKeyRole: TenantRole = 'agent';

/**
 * Makes a tenant with its first key for an operator, and notes it: all of it or nothing. `exists` when there is one of that id
 * that this same order did not make.
 * @throws KeyEndedError when the operator's own key is revoked.
 */
export async function orderTenant(
  pool: Pool,
  { by, key, ...order }: NewTenant & { by: { apiKeyId: string; author: string }; key: string },
): Promise<'made' | 'exists'> {
  const { tenantId, name } = order;
  return asTenant(pool, tenantId, async (client) => {
    await holdApiKey(client, by.apiKeyId);
    const made = await addTenant(client, order);
    // A repeat of an order that was not answered finds its own key.
    if (!made) return (await hasApiKey(client, key)) ? 'made' : 'exists';
    await addApiKey(client, { tenantId, role: firstKeyRole, key, label: 'made with the tenant' });
    await client.query(
      `INSERT INTO copilot_internal.audit_entries (tenant_id, api_key_id, author, action, details)
       VALUES ($1, $2, $3, 'create_tenant', $4)`,
      [tenantId, by.apiKeyId, by.author, JSON.stringify({ tenantId, ...(name === undefined ? {} : { name }) })],
    );
    return 'made';
  });
}

/**
 * Deletes a tenant with all that is its own, and notes it in the administration's audit. `busy` while a run is open or money is held:
 * nothing is changed then, nor when there is no such tenant.
 */
export async function deleteTenant(
  pool: Pool,
  {
    tenantId,
    apiKeyId,
    author,
    reason,
  }: { tenantId: string; apiKeyId?: string | undefined; author: string; reason: string },
): Promise<'deleted' | 'busy' | 'unknown'> {
  const { rows } = await asTenantTaking(databaseLimits.longStatementMs)(pool, tenantId, (client, commitWith) =>
    commitWith(
      client.query<{ outcome: 'deleted' | 'busy' | 'unknown' }>(
        'SELECT copilot_internal.delete_tenant($1, $2, $3, $4) AS outcome',
        [tenantId, apiKeyId ?? null, author, reason],
      ),
    ),
  );
  return rows[0]?.outcome ?? 'unknown';
}

export async function tenantExists(pool: Pool, tenantId: string): Promise<boolean> {
  return asTenant(pool, tenantId, async (client) => {
    const { rowCount } = await client.query(
      'SELECT FROM copilot_internal.tenants WHERE tenant_id = $1 AND deleted_at IS NULL',
      [tenantId],
    );
    return rowCount === 1;
  });
}

/** What a step of the tenant does when its authority does not answer in time, and how long that is. */
export interface TenantPolicy {
  onUnavailable: 'wait' | 'deny' | 'allow';
  answerTimeoutMs: number;
}

/** Undefined when there is no such tenant. */
export async function readPolicy(pool: Pool, tenantId: string): Promise<TenantPolicy | undefined> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<TenantPolicy>(
      `SELECT on_unavailable AS "onUnavailable", answer_timeout_ms AS "answerTimeoutMs"
       FROM copilot_internal.tenants WHERE tenant_id = $1`,
      [tenantId],
    );
    return rows[0];
  });
}
