/**
 * Calls of the few functions that every decision makes: each connection has them prepared, so that Postgres reads and plans a call once
 * and not each time. What they answer is taken as text, since a prepared statement keeps the type of its result: a migration that gave
 * the function another would have it refused for as long as the connection lasts.
 */
import type { Pool, PoolClient } from 'pg';

interface HotCall {
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
