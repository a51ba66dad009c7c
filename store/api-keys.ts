/** API keys: 256 random bits, shown once; only their SHA-256 is kept. */
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { labelsFrom, type Labels } from '../core/labels';
import { isTenantRole, roleOfKey, type Role, type TenantRole } from '../core/roles';
import type { Operator } from './operator';
import { asTenant, type Pool, type PoolClient } from './pool';

/** Whom a key speaks for: one tenant, or, without one, the administration. */
export interface KeyOwner {
  apiKeyId: string;
  tenantId?: string | undefined;
  role: Role;
  /** Of all that is started and reserved with it. */
  labels?: Labels | undefined;
}

/** What is kept of a key. */
export const hashOf = (key: string): Buffer => createHash('sha256').update(key).digest();

/** The shape of every key: what has another is none, and need not be looked up. */
const keyPattern = /^slk_[A-Za-z0-9_-]{43}$/;

export const isKeyShaped = (text: string): boolean => keyPattern.test(text);

export const newKey = (): string => `slk_${randomBytes(32).toString('base64url')}`;

/**
 * The key that a request makes, from the secret that its caller sent and a seed that is stored: a repeat of the request is shown
 * the same key, although it is kept nowhere. Whoever reads the seed alone can make nothing of it.
 */
export const keyFrom = (secret: string, seed: string): string =>
  `slk_${createHmac('sha256', secret).update(`spendlock api key ${seed}`).digest('base64url')}`;

export interface NewKey {
  tenantId?: string | undefined;
  /** Of a tenant's key. One without it can do what keys could before there were roles: no operator orders such a one. */
  role?: TenantRole | undefined;
  label?: string;
  /** Of all that is started and reserved with it. */
  labels?: Labels | undefined;
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
  { tenantId, role, label = '', labels, key = newKey(), by }: NewKey,
): Promise<{ key: string; apiKeyId: string; isNew: boolean; role: Role }> {
  const hash = hashOf(key);
  type Row = Pick<KeyRow, 'apiKeyId' | 'tenantId' | 'role'> & { isNew: boolean };
  const columns = 'api_key_id AS "apiKeyId", tenant_id AS "tenantId", role';
  const { rows: there } = await client.query<Row>(
    `SELECT ${columns}, false AS "isNew" FROM copilot_internal.api_keys WHERE key_hash = $1`,
    [hash],
  );
  if (there[0]) return { key, ...there[0], role: roleOfKey(there[0]) };
  if (by !== undefined) await holdApiKey(client, by);
  const { rows } = await client.query<Row>(
    `WITH added AS (
       INSERT INTO copilot_internal.api_keys (key_hash, tenant_id, role, label, labels) VALUES ($1, $2, $3, $4, $5)
       ON CONFLICT (key_hash) DO NOTHING RETURNING api_key_id, tenant_id, role)
     SELECT ${columns}, true AS "isNew" FROM added
     UNION ALL SELECT ${columns}, false FROM copilot_internal.api_keys WHERE key_hash = $1`,
    [hash, tenantId ?? null, role ?? null, label, labels ? JSON.stringify(labels) : null],
  );
  const made = rows[0];
  if (!made) throw new Error('Postgres answered no key. Nothing was made.');
  return { key, ...made, role: roleOfKey(made) };
}

/**
 * Makes the first key of the administration and notes it, where it has none in force; otherwise answers one that it has. `onBegin` is told
 * before anything is made.
 */
export async function addFirstKey(
  pool: Pool,
  { key, label, by, onBegin }: { key: string; label: string; by: Operator; onBegin: () => void },
): Promise<{ apiKeyId: string; isNew: boolean }> {
  return asTenant(pool, '', async (client) => {
    const { rows } = await client.query<{ apiKeyId: string }>(
      `SELECT api_key_id AS "apiKeyId" FROM copilot_internal.api_keys
       WHERE tenant_id IS NULL AND (revoked_at IS NULL OR revoked_at > clock_timestamp()) ORDER BY created_at DESC LIMIT 1`,
    );
    if (rows[0]) return { ...rows[0], isNew: false };
    onBegin();
    const { apiKeyId } = await addApiKey(client, { label, key });
    await writeKeyChange(client, { tenantId: undefined, by, action: 'create_key', details: { apiKeyId } });
    return { apiKeyId, isNew: true };
  });
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

/** A key as operators see it: never the key itself. */
export interface ApiKeyView {
  apiKeyId: string;
  /** Null for one of the administration. */
  tenantId: string | null;
  role: Role;
  label: string;
  labels: Labels | null;
  createdAt: Date;
  revokedAt: Date | null;
}

interface KeyRow extends Omit<ApiKeyView, 'role'> {
  role: TenantRole | null;
}

const viewOf = (row: KeyRow): ApiKeyView => ({
  ...row,
  role: roleOfKey(row),
  labels: labelsFrom(row.labels) ?? null,
});

const keyColumns = `api_key_id AS "apiKeyId", tenant_id AS "tenantId", role, label, labels, created_at AS "createdAt", revoked_at AS "revokedAt"`;

/** The keys of a tenant, or without one of the administration, the newest first. */
export async function listApiKeys(
  pool: Pool,
  tenantId: string | undefined,
  { afterKeyId, limit }: { afterKeyId?: string | undefined; limit?: number } = {},
): Promise<ApiKeyView[]> {
  return asTenant(pool, tenantId ?? '', async (client) => {
    const { rows } = await client.query<KeyRow>(
      `SELECT ${keyColumns} FROM copilot_internal.api_keys
       WHERE tenant_id IS NOT DISTINCT FROM $1 AND ($2::uuid IS NULL OR (created_at, api_key_id) < (
         SELECT l.created_at, l.api_key_id FROM copilot_internal.api_keys l WHERE l.api_key_id = $2))
       ORDER BY created_at DESC, api_key_id DESC LIMIT $3`,
      [tenantId ?? null, afterKeyId ?? null, limit ?? null],
    );
    return rows.map(viewOf);
  });
}

/** A key of a tenant, or without one of the administration; undefined when there is no such key there. */
export async function readApiKey(
  pool: Pool,
  { tenantId, apiKeyId }: { tenantId: string | undefined; apiKeyId: string },
): Promise<ApiKeyView | undefined> {
  return (await listApiKeys(pool, tenantId)).find((key) => key.apiKeyId === apiKeyId);
}

/** The role that a key was given; none where it is from before there were any, or of the administration. */
export const givenRole = ({ role }: { role: Role }): TenantRole | undefined => (isTenantRole(role) ? role : undefined);

/** Without this key nobody could steer the installation. Nothing was done. */
export class LastKeyError extends Error {
  override readonly name = 'LastKeyError';
}

/**
 * Revokes a key. Undefined when there is no such key there. Every process hears of it at once.
 * @throws LastKeyError for the last key of the administration that does not end, unless it is said that it may go.
 */
export async function revokeApiKey(
  pool: Pool,
  { evenLast = false, ...order }: RevokedKey & { evenLast?: boolean },
): Promise<ApiKeyView | undefined> {
  return asTenant(pool, order.tenantId ?? '', async (client) => {
    if (order.tenantId === undefined && !evenLast) await refuseLast(client, order.apiKeyId);
    return endApiKey(client, order);
  });
}

/** Two that revoke one key each take turns by the locks: the second finds that it has the last one. */
async function refuseLast(client: PoolClient, apiKeyId: string): Promise<void> {
  const { rows } = await client.query<{ apiKeyId: string }>(
    `SELECT api_key_id AS "apiKeyId" FROM copilot_internal.api_keys
     WHERE tenant_id IS NULL AND revoked_at IS NULL ORDER BY api_key_id FOR UPDATE`,
  );
  if (rows.length === 1 && rows[0]?.apiKeyId === apiKeyId)
    throw new LastKeyError('It is the last key of the administration.');
}

export interface RevokedKey {
  tenantId: string | undefined;
  apiKeyId: string;
  afterSeconds?: number;
}

/** The same inside the caller's transaction, which names the tenant. */
async function endApiKey(
  client: PoolClient,
  { tenantId, apiKeyId, afterSeconds = 0, evenEnded = true }: RevokedKey & { evenEnded?: boolean },
): Promise<ApiKeyView | undefined> {
  const { rows } = await client.query<KeyRow>(
    `UPDATE copilot_internal.api_keys
     SET revoked_at = least(revoked_at, clock_timestamp() + $3 * interval '1 second')
     WHERE api_key_id = $1 AND tenant_id IS NOT DISTINCT FROM $2 AND ($4 OR revoked_at IS NULL OR revoked_at > clock_timestamp())
     RETURNING ${keyColumns}`,
    [apiKeyId, tenantId ?? null, afterSeconds, evenEnded],
  );
  return rows[0] && viewOf(rows[0]);
}

/** Who orders a change of keys; the key has to be good when it is made. */
export interface KeyOrder {
  tenantId: string | undefined;
  by: Operator & { apiKeyId: string };
}

/** Makes a key for an operator and notes it; one that was made from the same seed is answered again. @throws KeyEndedError when the operator's own is revoked. */
export async function orderApiKey(
  pool: Pool,
  {
    tenantId,
    by,
    role,
    key,
    label,
    labels,
  }: KeyOrder & Pick<NewKey, 'labels'> & { role: TenantRole | undefined; key: string; label: string },
): Promise<{ apiKeyId: string; role: Role }> {
  return asTenant(pool, tenantId ?? '', async (client) => {
    const made = await addApiKey(client, { tenantId, role, label, labels, key, by: by.apiKeyId });
    const { apiKeyId } = made;
    const details = { apiKeyId, role: made.role, label, ...(labels ? { labels } : {}) };
    if (made.isNew) await writeKeyChange(client, { tenantId, by, action: 'create_key', details });
    return { apiKeyId, role: made.role };
  });
}

/**
 * Replaces a key: a new one under its label, with its labels and its role, and the old one taken for so long yet. Undefined when there is no such key
 * there, or it has ended.
 * @throws KeyEndedError when the operator's own is revoked.
 */
export async function rotateApiKey(
  pool: Pool,
  { tenantId, by, key, old, graceSeconds }: KeyOrder & { key: string; old: string; graceSeconds: number },
): Promise<{ apiKeyId: string; old: ApiKeyView } | undefined> {
  return asTenant(pool, tenantId ?? '', async (client) => {
    // Held first: the operator may be rotating the key that it asks with.
    await holdApiKey(client, by.apiKeyId);
    // The new one is there already when an earlier try was cut off before its answer was kept.
    const isRepeat = await hasApiKey(client, key);
    const ended = await endApiKey(client, { tenantId, apiKeyId: old, afterSeconds: graceSeconds, evenEnded: isRepeat });
    if (!ended) return undefined;
    const { apiKeyId, isNew } = await addApiKey(client, {
      ...{ tenantId, role: givenRole(ended), label: ended.label, key },
      labels: ended.labels ?? undefined,
    });
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
