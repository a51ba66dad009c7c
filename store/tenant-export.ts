/** All that is a tenant's, row by row, as of one moment: to take along, or to keep when it is deleted. */
import { escapeIdentifier, escapeLiteral } from 'pg';
import { knows, type Pool, type PoolClient } from './pool';

/** A line of an export. The first names the tables, the last counts the rows: without it the export is not whole. */
export type ExportLine =
  | { export: 'spendlock'; version: 1; tenantId: string; at: string; tables: string[] }
  | { table: string; row: Record<string, unknown> }
  | { end: true; rows: number };

/** About as much as is in memory at once, and as many rows at most. */
const bytesAtOnce = 256 * 1024;
const rowsAtOnce = 500;
/** What is larger is read piece by piece. */
const inlineBytesMax = 64 * 1024;

/** How long Postgres lets it wait for its reader: longer than whoever answers with it does. */
const readerMs = 60_000;

/** What is not taken along: answers that are kept for repeats, for a day. */
const leftOut = ['idempotent_requests'];

interface Table {
  name: string;
  columns: string[];
  /** Of them those that hold bytes, and may be large. */
  bytes: string[];
}

/**
 * The lines of an export as text, in pieces that are no lines: a large file comes in many. Reads in one snapshot, so that a
 * large tenant, or a large file, needs no more memory than a small one.
 */
export async function* exportTenant(pool: Pool, tenantId: string): AsyncGenerator<string, void> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    // Between two pieces it waits for who reads them.
    await client.query(`SET LOCAL idle_in_transaction_session_timeout = ${readerMs}`);
    for (const [name, value] of Object.entries({ 'spendlock.tenant_id': tenantId, ...knows }))
      await client.query('SELECT set_config($1, $2, true)', [name, value]);
    const tables = await tablesOf(client);
    const names = tables.map(({ name }) => name);
    yield line({ export: 'spendlock', version: 1, tenantId, at: new Date().toISOString(), tables: names });
    let count = 0;
    for (const table of tables) count += yield* rowsOf(client, table, tenantId);
    await client.query('COMMIT');
    yield line({ end: true, rows: count });
  } catch (error) {
    broken = error as Error;
    throw error;
  } finally {
    // Whoever stops reading in the middle leaves a transaction open.
    await client.query('ROLLBACK').catch((error: Error) => (broken = error));
    client.release(broken);
  }
}

const line = (value: ExportLine): string => `${JSON.stringify(value)}\n`;

/** The tables that have rows of tenants. A key's hash, or a credential that is sealed, is of no use to anybody else. */
async function tablesOf(client: PoolClient): Promise<Table[]> {
  const { rows } = await client.query<Table>(
    `SELECT c.relname AS name, array_agg(a.attname::text ORDER BY a.attnum) AS columns,
            coalesce(array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE a.atttypid = 'bytea'::regtype), '{}') AS bytes
     FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attname NOT IN ('key_hash', 'sealed_credential')
     WHERE c.relnamespace = 'copilot_internal'::regnamespace AND c.relkind = 'r' AND has_table_privilege(c.oid, 'SELECT')
       AND c.relname <> ALL ($1)
     GROUP BY c.relname HAVING bool_or(a.attname = 'tenant_id') ORDER BY c.relname`,
    [leftOut],
  );
  return rows;
}

/** The lines of a table; answers how many. */
async function* rowsOf(
  client: PoolClient,
  { name, columns, bytes }: Table,
  tenantId: string,
): AsyncGenerator<string, number> {
  const from = `copilot_internal.${escapeIdentifier(name)}`;
  const shown = columns.map((column) => {
    const as = escapeIdentifier(column);
    return bytes.includes(column) ? `CASE WHEN octet_length(${as}) <= ${inlineBytesMax} THEN ${as} END AS ${as}` : as;
  });
  const sizes = bytes.map((column) => `octet_length(${escapeIdentifier(column)})`).join(', ');
  await client.query(
    `DECLARE rows NO SCROLL CURSOR FOR SELECT t.ctid::text AS place, ARRAY[${sizes}]::integer[] AS sizes,
       (SELECT to_jsonb(s)::text FROM (SELECT ${shown.join(', ')}) AS s) AS row
     FROM ${from} t WHERE tenant_id = ${escapeLiteral(tenantId)}`,
  );
  let count = 0;
  for (let fetch = 10; ;) {
    const { rows } = await client.query<{ place: string; sizes: (number | null)[]; row: string }>(
      `FETCH ${fetch} FROM rows`,
    );
    let text = '';
    for (const { place, sizes: found, row } of rows) {
      text += `{"table":${JSON.stringify(name)},"row":`;
      const large = bytes.filter((_, at) => (found[at] ?? 0) > inlineBytesMax);
      if (large.length === 0) text += `${row}}\n`;
      else {
        yield text;
        yield* rowWithBytes(client, { from, place, row, large });
        text = '';
      }
      count += 1;
    }
    if (text !== '') yield text;
    if (rows.length < fetch) break;
    const each = rows.reduce((sum, { row }) => sum + row.length, 0) / rows.length;
    fetch = Math.min(rowsAtOnce, Math.max(1, Math.floor(bytesAtOnce / Math.max(1, each))));
  }
  await client.query('CLOSE rows');
  return count;
}

/** A row whose large columns follow the others, piece by piece, as Postgres writes bytes. */
async function* rowWithBytes(
  client: PoolClient,
  { from, place, row, large }: { from: string; place: string; row: string; large: readonly string[] },
): AsyncGenerator<string, void> {
  const rest = JSON.parse(row) as Record<string, unknown>;
  for (const column of large) delete rest[column];
  yield JSON.stringify(rest).slice(0, -1);
  let isFirst = Object.keys(rest).length === 0;
  for (const column of large) {
    yield `${isFirst ? '' : ','}${JSON.stringify(column)}:"\\\\x`;
    isFirst = false;
    for (let at = 1; ; at += bytesAtOnce) {
      const { rows } = await client.query<{ hex: string }>(
        `SELECT encode(substring(${escapeIdentifier(column)} FROM $1 FOR $2), 'hex') AS hex FROM ${from} WHERE ctid = $3::tid`,
        [at, bytesAtOnce, place],
      );
      const hex = rows[0]?.hex ?? '';
      if (hex !== '') yield hex;
      if (hex.length < 2 * bytesAtOnce) break;
    }
    yield '"';
  }
  yield '}}\n';
}
