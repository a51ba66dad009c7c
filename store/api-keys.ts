/** API keys: 256 random bits, shown once; only their SHA-256 is kept. */
import { createHash, randomBytes } from 'node:crypto';
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
