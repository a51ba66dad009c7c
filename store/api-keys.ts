/** API keys: 256 random bits, shown once; only their SHA-256 is kept. */
import { createHash, createHmac, randomBytes } from 'node:crypto';
import type { Operator } from './operator';
import { asTenant, type Pool, type PoolClient } from './pool';

/** Whom a key speaks for: one tenant, or, without one, the administration. */
export interface KeyOwner {
  apiKeyId: string;
  tenantId?: string | undefined;
}

/** A key as `authenticate` finds it. */
export interface FoundKey extends KeyOwner {
  /** When it ends, if that is settled. */
  revokedAt?: Date | undefined;
}

const hashOf = (key: string): Buffer => createHash('sha256').update(key).digest();

/** The shape of every key: what has another is none, and need not be looked up. */
const keyPattern = /^slk_[A-Za-z0-9_-]{43}$/;

export const isKeyShaped = (text: string): boolean => keyPattern.test(text);

const newKey = (): string => `slk_${randomBytes(32).toString('base64url')}`;

/**
 * The key that a request makes, from the secret that its caller sent and a seed that is stored: a repeat of the request is shown
 * the same key, although it is kept nowhere. Whoever reads the seed alone can make nothing of it.
 */
export const keyFrom = (secret: string, seed: string): string =>
  `slk_${createHmac('sha256', secret).update(`spendlock api key ${seed}`).digest('base64url')}`;

export interface NewKey {
  tenantId?: string | undefined;
  label?: string;
  /** Made up when absent. */
  key?: string;
  /** The key by which it is ordered; it has to be good at that very moment. */
  by?: string | undefined;
}

/** The key that ordered something was revoked meanwhile. Nothing was done. */
export class KeyEndedError extends Error {
  override readonly name = 'KeyEndedError';
}

/** Makes a key. It cannot be read again. @throws KeyEndedError when the key that orders it is revoked. */
export async function createApiKey(pool: Pool, order: NewKey): Promise<{ key: string; apiKeyId: string }> {
  return asTenant(pool, order.tenantId ?? '', (client) => addApiKey(client, order));
}

/**
 * The same inside the caller's transaction, which names the tenant. One that is there already is answered as it is, also when the
 * key that ordered it has ended since: who rotates the key that it asks with is shown the new one.
 * @throws KeyEndedError when the key that orders it is revoked.
 */
export async function addApiKey(
  client: PoolClient,
  { tenantId, label = '', key = newKey(), by }: NewKey,
): Promise<{ key: string; apiKeyId: string; isNew: boolean }> {
  const hash = hashOf(key);
  const { rows: there } = await client.query<{ api_key_id: string }>(
    'SELECT api_key_id FROM copilot_internal.api_keys WHERE key_hash = $1',
    [hash],
  );
  if (there[0]) return { key, apiKeyId: there[0].api_key_id, isNew: false };
  if (by !== undefined) await holdApiKey(client, by);
  const { rows } = await client.query<{ api_key_id: string; is_new: boolean }>(
    `WITH added AS (
       INSERT INTO copilot_internal.api_keys (key_hash, tenant_id, label) VALUES ($1, $2, $3)
       ON CONFLICT (key_hash) DO NOTHING RETURNING api_key_id)
     SELECT api_key_id, true AS is_new FROM added
     UNION ALL SELECT api_key_id, false FROM copilot_internal.api_keys WHERE key_hash = $1`,
    [hash, tenantId ?? null, label],
  );
  return { key, apiKeyId: rows[0]?.api_key_id ?? '', isNew: rows[0]?.is_new ?? false };
}

/** Whether the tenant that the transaction names has this key. */
export async function hasApiKey(client: PoolClient, key: string): Promise<boolean> {
  const { rowCount } = await client.query('SELECT FROM copilot_internal.api_keys WHERE key_hash = $1', [hashOf(key)]);
  return rowCount === 1;
}

/** Makes sure that a key is good until the transaction ends. @throws KeyEndedError when it is not. */
export async function holdApiKey(client: PoolClient, apiKeyId: string): Promise<void> {
  const { rows } = await client.query<{ good: boolean }>('SELECT copilot_internal.hold_api_key($1) AS good', [
    apiKeyId,
  ]);
  if (!rows[0]?.good) throw new KeyEndedError('The API key was revoked.');
}

const foundKey = (row: { api_key_id: string; tenant_id: string | null; revoked_at: Date | null }): FoundKey => ({
  apiKeyId: row.api_key_id,
  tenantId: row.tenant_id ?? undefined,
  revokedAt: row.revoked_at ?? undefined,
});

/** Whom each of these keys speaks for, in one statement; undefined for one that is none, or was revoked. */
export async function authenticate(pool: Pool, keys: readonly string[]): Promise<(FoundKey | undefined)[]> {
  const { rows } = await pool.query<{
    at: string;
    api_key_id: string;
    tenant_id: string | null;
    revoked_at: Date | null;
  }>(
    `SELECT asked.at, found.* FROM unnest($1::bytea[]) WITH ORDINALITY AS asked (key_hash, at)
     CROSS JOIN LATERAL copilot_internal.find_api_key(asked.key_hash) AS found`,
    [keys.map(hashOf)],
  );
  const found = new Map(rows.map(({ at, ...row }) => [Number(at) - 1, foundKey(row)]));
  return keys.map((_key, at) => found.get(at));
}

/** The channel on which Postgres tells the id of each key that was revoked, or is to end. */
export const keyChannel = 'spendlock_keys';

/** Which of these keys have ended or will, and in how many milliseconds. */
export async function readKeyEnds(pool: Pool, apiKeyIds: readonly string[]): Promise<Map<string, number>> {
  const { rows } = await pool.query<{ api_key_id: string; leftMs: number }>(
    `SELECT api_key_id, greatest(extract(epoch FROM revoked_at - clock_timestamp()), 0)::double precision * 1000 AS "leftMs"
     FROM copilot_internal.ends_of_api_keys($1)`,
    [apiKeyIds],
  );
  return new Map(rows.map(({ api_key_id, leftMs }) => [api_key_id, leftMs]));
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

/** Revokes a key, at once or from a moment on. Undefined when there is no such key there. Every process hears of it at once. */
export async function revokeApiKey(pool: Pool, order: RevokedKey): Promise<ApiKeyView | undefined> {
  return asTenant(pool, order.tenantId ?? '', (client, commitWith) => commitWith(endApiKey(client, order)));
}

export interface RevokedKey {
  tenantId: string | undefined;
  apiKeyId: string;
  afterSeconds?: number;
}

/** The same inside the caller's transaction, which names the tenant. */
async function endApiKey(
  client: PoolClient,
  { tenantId, apiKeyId, afterSeconds = 0 }: RevokedKey,
): Promise<ApiKeyView | undefined> {
  const { rows } = await client.query<ApiKeyView>(
    `UPDATE copilot_internal.api_keys
     SET revoked_at = least(revoked_at, clock_timestamp() + $3 * interval '1 second')
     WHERE api_key_id = $1 AND tenant_id IS NOT DISTINCT FROM $2 RETURNING ${keyColumns}`,
    [apiKeyId, tenantId ?? null, afterSeconds],
  );
  return rows[0];
}

/** Who orders a change of keys; the key has to be good when it is made. */
export interface KeyOrder {
  tenantId: string | undefined;
  by: Operator & { apiKeyId: string };
}

/** Makes a key for an operator and notes it; one that was made from the same seed is answered again. @throws KeyEndedError when the operator's own is revoked. */
export async function orderApiKey(
  pool: Pool,
  { tenantId, by, key, label }: KeyOrder & { key: string; label: string },
): Promise<string> {
  return asTenant(pool, tenantId ?? '', async (client) => {
    const { apiKeyId, isNew } = await addApiKey(client, { tenantId, label, key, by: by.apiKeyId });
    if (isNew) await writeKeyChange(client, { tenantId, by, action: 'create_key', details: { apiKeyId, label } });
    return apiKeyId;
  });
}

/**
 * Replaces a key: a new one under its label, and the old one taken for so long yet. Undefined when there is no such key there.
 * @throws KeyEndedError when the operator's own is revoked.
 */
export async function rotateApiKey(
  pool: Pool,
  { tenantId, by, key, old, graceSeconds }: KeyOrder & { key: string; old: string; graceSeconds: number },
): Promise<{ apiKeyId: string; old: ApiKeyView } | undefined> {
  return asTenant(pool, tenantId ?? '', async (client) => {
    // Held first: the operator may be rotating the key that it asks with.
    await holdApiKey(client, by.apiKeyId);
    const ended = await endApiKey(client, { tenantId, apiKeyId: old, afterSeconds: graceSeconds });
    if (!ended) return undefined;
    const { apiKeyId, isNew } = await addApiKey(client, { tenantId, label: ended.label, key });
    const details = { apiKeyId, old, graceSeconds };
    if (isNew) await writeKeyChange(client, { tenantId, by, action: 'rotate_key', details });
    return { apiKeyId, old: ended };
  });
}

interface KeyChange {
  tenantId: string | undefined;
  by: Operator;
  action: string;
  details: object;
}

/** Notes who made, rotated or revoked a key; without a tenant, of the administration. */
export async function noteKeyChange(pool: Pool, change: KeyChange): Promise<void> {
  await asTenant(pool, change.tenantId ?? '', (client, commitWith) => commitWith(writeKeyChange(client, change)));
}

async function writeKeyChange(client: PoolClient, { tenantId, by, action, details }: KeyChange): Promise<void> {
  await client.query(
    `INSERT INTO copilot_internal.audit_entries (tenant_id, api_key_id, author, action, details)
     VALUES ($1, $2, $3, $4, $5)`,
    [tenantId ?? null, by.apiKeyId ?? null, by.author, action, JSON.stringify(details)],
  );
}
