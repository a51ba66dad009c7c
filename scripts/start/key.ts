/** The administration key of a start, in force as long as the start is. */
import { createApiKey, listApiKeys, noteKeyChange, revokeApiKey } from '../../store/api-keys';
import { createPool, type Pool } from '../../store/pool';

/** Keys with this label are those of `npm start`: it revokes what it finds of them. */
const label = 'npm start';
const by = { author: label };

/** Makes the key of this start, and revokes those of starts that were killed before they could. */
export async function makeStartKey(pool: Pool): Promise<{ key: string; apiKeyId: string }> {
  const now = new Date();
  for (const { apiKeyId, label: its, revokedAt } of await listApiKeys(pool, undefined))
    if (its === label && (revokedAt === null || revokedAt > now)) await revoke(pool, apiKeyId);
  const made = await createApiKey(pool, { label });
  await noteKeyChange(pool, { tenantId: undefined, by, action: 'create_key', details: { apiKeyId: made.apiKeyId } });
  return made;
}

/** By a connection of its own: those of the API may all be in use. */
export async function revokeStartKey(databaseUrl: string, apiKeyId: string): Promise<void> {
  const pool = createPool(databaseUrl, { max: 1 });
  try {
    await revoke(pool, apiKeyId);
  } finally {
    void pool.end();
  }
}

async function revoke(pool: Pool, apiKeyId: string): Promise<void> {
  await revokeApiKey(pool, { tenantId: undefined, apiKeyId, evenLast: true });
  await noteKeyChange(pool, { tenantId: undefined, by, action: 'revoke_key', details: { apiKeyId } });
}
