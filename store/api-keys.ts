/** API keys: 256 random bits, shown once; only their SHA-256 is kept. */
import { createHash, randomBytes } from 'node:crypto';
import type { Operator } from './control';
import { asTenant, type Pool } from './pool';

/** Whom a key speaks for: one tenant, or, without one, the administration. */
export interface KeyOwner {
  apiKeyId: string;
  tenantId?: string | undefined;
}

const hashOf = (key: string): Buffer => createHash('sha256').update(key).digest();

/** Makes a key. It cannot be read again. */
export async function createApiKey(
  pool: Pool,
  { tenantId, label = '' }: { tenantId?: string; label?: string },
): Promise<{ key: string; apiKeyId: string }> {
  const key = `slk_${randomBytes(32).toString('base64url')}`;
  const apiKeyId = await asTenant(pool, tenantId ?? '', async (client) => {
    const { rows } = await client.query<{ api_key_id: string }>(
      'INSERT INTO copilot_internal.api_keys (key_hash, tenant_id, label) VALUES ($1, $2, $3) RETURNING api_key_id',
      [hashOf(key), tenantId ?? null, label],
    );
    return rows[0]?.api_key_id ?? '';
  });
  return { key, apiKeyId };
}

/** Whom a key speaks for; undefined when it is none, or was revoked. */
export async function authenticate(pool: Pool, key: string): Promise<KeyOwner | undefined> {
  const { rows } = await pool.query<{ api_key_id: string; tenant_id: string | null }>(
    'SELECT * FROM copilot_internal.authenticate_api_key($1)',
    [hashOf(key)],
  );
  const row = rows[0];
  return row && { apiKeyId: row.api_key_id, tenantId: row.tenant_id ?? undefined };
}

/** A key as operators see it: never the key itself. */
export interface ApiKeyView {
  apiKeyId: string;
  /** Null for one of the administration. */
  tenantId: string | null;
  label: string;
  createdAt: Date;
  revokedAt: Date | null;
}

const keyColumns = `api_key_id AS "apiKeyId", tenant_id AS "tenantId", label, created_at AS "createdAt", revoked_at AS "revokedAt"`;

/** The keys of a tenant, or without one of the administration, the newest first. */
export async function listApiKeys(pool: Pool, tenantId: string | undefined): Promise<ApiKeyView[]> {
  return asTenant(pool, tenantId ?? '', async (client) => {
    const { rows } = await client.query<ApiKeyView>(
      `SELECT ${keyColumns} FROM copilot_internal.api_keys
       WHERE tenant_id IS NOT DISTINCT FROM $1 ORDER BY created_at DESC, api_key_id`,
      [tenantId ?? null],
    );
    return rows;
  });
}

/** Revokes a key, at once or from a moment on. Undefined when there is no such key there. */
export async function revokeApiKey(
  pool: Pool,
  { tenantId, apiKeyId, afterSeconds = 0 }: { tenantId: string | undefined; apiKeyId: string; afterSeconds?: number },
): Promise<ApiKeyView | undefined> {
  return asTenant(pool, tenantId ?? '', async (client, commitWith) => {
    const { rows } = await commitWith(
      client.query<ApiKeyView>(
        `UPDATE copilot_internal.api_keys
         SET revoked_at = least(revoked_at, clock_timestamp() + $3 * interval '1 second')
         WHERE api_key_id = $1 AND tenant_id IS NOT DISTINCT FROM $2 RETURNING ${keyColumns}`,
        [apiKeyId, tenantId ?? null, afterSeconds],
      ),
    );
    return rows[0];
  });
}

/** Notes who made, rotated or revoked a key; without a tenant, of the administration. */
export async function noteKeyChange(
  pool: Pool,
  { tenantId, by, action, details }: { tenantId: string | undefined; by: Operator; action: string; details: object },
): Promise<void> {
  await asTenant(pool, tenantId ?? '', (client, commitWith) =>
    commitWith(
      client.query(
        `INSERT INTO copilot_internal.audit_entries (tenant_id, api_key_id, author, action, details)
         VALUES ($1, $2, $3, $4, $5)`,
        [tenantId ?? null, by.apiKeyId ?? null, by.author, action, JSON.stringify(details)],
      ),
    ),
  );
}
