/** What an installation's Postgres is: version, role, migrations, prices, keys, clock. For readiness, and for who looks after it. */
import type { ClientBase } from 'pg';
import type { Pool } from './pool';

/** Resolves when Postgres answers. */
export async function ping(pool: Pool): Promise<void> {
  await pool.query('SELECT 1');
}

async function readOne<T extends object>(client: ClientBase | Pool, sql: string): Promise<T> {
  const { rows } = await client.query<T>(sql);
  const [row] = rows;
  if (!row) throw new Error('A query that always has a row had none.');
  return row;
}

export const serverVersion = async (client: ClientBase): Promise<string> =>
  (await readOne<{ version: string }>(client, `SELECT current_setting('server_version') AS version`)).version;

/** Who is connected; row security does not bind a superuser, nor a role that may pass it by. */
export const connectedRole = (client: ClientBase): Promise<{ role: string; isUnbound: boolean }> =>
  readOne(
    client,
    `SELECT rolname AS role, rolsuper OR rolbypassrls AS "isUnbound" FROM pg_roles WHERE rolname = current_user`,
  );

/** The numbered migrations that were applied. */
export async function appliedMigrations(client: ClientBase): Promise<Set<string>> {
  const { rows } = await client.query<{ name: string }>('SELECT name FROM copilot_internal.schema_migrations');
  return new Set(rows.map(({ name }) => name));
}

/** How many models and tiers of sandboxes have a price that is in force. */
export const countPrices = (client: ClientBase): Promise<{ models: number; tiers: number }> =>
  readOne(
    client,
    `SELECT (SELECT count(DISTINCT model) FROM copilot_internal.model_prices WHERE effective_from <= now())::integer AS models,
            (SELECT count(DISTINCT tier) FROM copilot_internal.sandbox_prices WHERE effective_from <= now())::integer AS tiers`,
  );

export const countAdministrationKeys = async (client: ClientBase): Promise<number> =>
  (
    await readOne<{ count: number }>(
      client,
      `SELECT count(*)::integer AS count FROM copilot_internal.api_keys
       WHERE tenant_id IS NULL AND (revoked_at IS NULL OR revoked_at > now())`,
    )
  ).count;

/** Milliseconds since 1970 by Postgres' clock. */
export const clockMs = async (client: ClientBase | Pool): Promise<number> =>
  (await readOne<{ nowMs: number }>(client, `SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS "nowMs"`))
    .nowMs;
