/** A change that an operator makes: under the locks of a decision, with its audit entry. */
import type { Operator } from './operator';
import { asTenant, type Pool, type PoolClient } from './pool';

/** Why a change is made, where somebody says so. */
export interface WithReason {
  reason?: string | undefined;
}

interface Change<T extends object | string | true> {
  tenantId: string;
  by: Operator;
  action: string;
  details: object;
  userIds?: string[];
  /** What comes last in the transaction. */
  finish?: ((client: PoolClient, result: T) => Promise<void>) | undefined;
}

/** There is nothing to change: what came along with the locks, such as limits that a user gets by default, is taken back. */
class NothingToChange extends Error {}

/**
 * Runs a change under the tenant's locks and notes it. Undefined when there is no such tenant, or `work` answers so, having found
 * nothing to change: nothing is noted or left behind then. All of it is done again where Postgres ended it for a pause.
 */
export async function change<T extends object | string | true>(
  pool: Pool,
  { tenantId, by, action, details, userIds = [], finish }: Change<T>,
  work: (client: PoolClient) => Promise<T | undefined>,
): Promise<T | undefined> {
  const changing = async (client: PoolClient): Promise<T | undefined> => {
    const { rows } = await client.query<{ known: boolean }>('SELECT copilot_internal.lock_quotas($1, $2) AS known', [
      tenantId,
      userIds,
    ]);
    if (!rows[0]?.known) return undefined;
    const result = await work(client);
    if (result === undefined) throw new NothingToChange();
    await client.query(
      `INSERT INTO copilot_internal.audit_entries (tenant_id, api_key_id, author, action, details)
       VALUES ($1, $2, $3, $4, $5)`,
      [tenantId, by.apiKeyId ?? null, by.author, action, JSON.stringify(details)],
    );
    await finish?.(client, result);
    return result;
  };
  return asTenant(pool, tenantId, changing, { holdsUp: true }).catch((error: unknown) => {
    if (error instanceof NothingToChange) return undefined;
    throw error;
  });
}
