/**
 * Calls of the few functions that every decision makes: each connection has them prepared, so that Postgres reads and plans a call once
 * and not each time. What they answer is taken as text, since a prepared statement keeps the type of its result: a migration that gave
 * the function another would have it refused for as long as the connection lasts.
 */
import type { Pool, PoolClient } from 'pg';
import { withinShare } from './fair-share';

export interface HotCall {
  name: string;
  text: string;
}

/** A call of a function of the schema that answers JSON. */
export const hotCall = (functionName: string, parameters: number): HotCall => ({
  name: functionName,
  text: `SELECT copilot_internal.${functionName}(${Array.from({ length: parameters }, (_, index) => `$${index + 1}`).join(', ')})::text AS answer`,
});

/** The JSON text that it answers; null where it answers nothing. */
export async function callHot(client: Pool | PoolClient, call: HotCall, values: unknown[]): Promise<string | null> {
  const { rows } = await client.query<{ answer: string | null }>({ ...call, values });
  return rows[0]?.answer ?? null;
}

/**
 * What names the tenant of a statement that is a transaction by itself: its first parameter. What is selected from it finds the tenant
 * named; a table that is joined to it may be read before.
 */
export const namedTenant = "(SELECT set_config('spendlock.tenant_id', $1, true) OFFSET 0) AS tenant";

/** The same for a statement of one tenant that names it by `namedTenant`: three commands less than a transaction that is begun and ended. */
export const callHotAsTenant = (
  pool: Pool,
  call: HotCall,
  [tenantId, ...values]: [string, ...unknown[]],
): Promise<string | null> => withinShare(pool, tenantId, () => callHot(pool, call, [tenantId, ...values]));
