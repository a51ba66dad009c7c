/** What a database has that may be of the version before. */
import type { Pool, PoolClient } from './pool';

/** Whether it has a function: by its name and the types that it takes, such as `told_room(text, text, text)`. */
export async function knowsFunction(db: Pool | PoolClient, signature: string): Promise<boolean> {
  const { rows } = await db.query<{ name: string | null }>('SELECT to_regprocedure($1)::text AS name', [
    `copilot_internal.${signature}`,
  ]);
  return rows[0]?.name != null;
}
