/** All that is a tenant's, row by row, as of one moment: to take along, or to keep when it is deleted. */
import { escapeLiteral } from 'pg';
import type { Pool } from './pool';

/** A line of an export. The first names the tables, the last counts the rows: without it the export is not whole. */
export type ExportLine =
  | { export: 'spendlock'; version: 1; tenantId: string; at: string; tables: string[] }
  | { table: string; row: Record<string, unknown> }
  | { end: true; rows: number };

const rowsAtOnce = 500;
/** How long a reader may take for one piece. */
const readerMs = 60_000;

/** Reads in one snapshot, a few hundred rows at a time, so that a large tenant needs no more memory than a small one. */
export async function* exportTenant(pool: Pool, tenantId: string): AsyncGenerator<ExportLine> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    // Between two pieces it waits for who reads them.
    await client.query(`SET LOCAL idle_in_transaction_session_timeout = ${readerMs}`);
    await client.query("SELECT set_config('spendlock.tenant_id', $1, true)", [tenantId]);
    const { rows: found } = await client.query<{ name: string }>(
      `SELECT c.relname AS name FROM pg_class c
       JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
       WHERE c.relnamespace = 'copilot_internal'::regnamespace AND c.relkind = 'r' AND has_table_privilege(c.oid, 'SELECT')
       ORDER BY c.relname`,
    );
    const tables = found.map(({ name }) => name);
    yield { export: 'spendlock', version: 1, tenantId, at: new Date().toISOString(), tables };
    let count = 0;
    for (const table of tables) {
      // A key's hash is of no use to anybody else.
      await client.query(
        `DECLARE rows CURSOR FOR SELECT to_jsonb(t) - 'key_hash' AS row FROM copilot_internal.${table} t WHERE tenant_id = ${escapeLiteral(tenantId)}`,
      );
      for (;;) {
        const { rows } = await client.query<{ row: Record<string, unknown> }>(`FETCH ${rowsAtOnce} FROM rows`);
        for (const { row } of rows) yield { table, row };
        count += rows.length;
        if (rows.length < rowsAtOnce) break;
      }
      await client.query('CLOSE rows');
    }
    await client.query('COMMIT');
    yield { end: true, rows: count };
  } catch (error) {
    broken = error as Error;
    throw error;
  } finally {
    // Whoever stops reading in the middle leaves a transaction open.
    await client.query('ROLLBACK').catch((error: Error) => (broken = error));
    client.release(broken);
  }
}
