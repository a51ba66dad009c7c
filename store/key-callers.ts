/** Whom the API keys of requests speak for, and when those keys end. */
import { labelsFrom } from '../core/labels';
import { roleOfKey, type TenantRole } from '../core/roles';
import { hashOf, type KeyOwner } from './api-keys';
import type { Pool } from './pool';

/** A key as `authenticate` finds it. */
export interface FoundKey extends KeyOwner {
  /** When it ends, if that is settled. */
  revokedAt?: Date | undefined;
}

interface FoundRow {
  api_key_id: string;
  tenant_id: string | null;
  role: TenantRole | null;
  revoked_at: Date | null;
  labels: unknown;
}

const foundKey = (row: FoundRow): FoundKey => ({
  apiKeyId: row.api_key_id,
  tenantId: row.tenant_id ?? undefined,
  role: roleOfKey({ tenantId: row.tenant_id, role: row.role }),
  revokedAt: row.revoked_at ?? undefined,
  labels: labelsFrom(row.labels),
});

/** Whom each of these keys speaks for, in one statement; undefined for one that is none, or was revoked. */
export async function authenticate(pool: Pool, keys: readonly string[]): Promise<(FoundKey | undefined)[]> {
  const { rows } = await pool.query<FoundRow & { at: string }>(
    `SELECT asked.at, found.* FROM unnest($1::bytea[]) WITH ORDINALITY AS asked (key_hash, at)
     CROSS JOIN LATERAL copilot_internal.find_key_owner(asked.key_hash) AS found`,
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
