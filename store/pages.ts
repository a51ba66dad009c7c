/** Rows some at a time, as many as fit into so many bytes: what few rows hold may be as much as the memory of a process. */
import type { PoolClient } from './pool';

/** About as much as one answer has of what tenants store. */
const pageBytesMax = 8 * 1024 * 1024;
/** Read at once: few rows until it is known how large they are, then as many as this holds. */
const rowsFirst = 16;
const bytesAtOnce = 1024 * 1024;

export interface Page<Row> {
  rows: Row[];
  /** Whether it ended for its bytes: more rows may be there. */
  isCut: boolean;
}

/**
 * Reads what a query finds, to `limit` rows or `bytesMax`, inside the caller's transaction. A page has one row at least. The query
 * says the size of each row as "bytes", which is left out of the rows.
 */
export async function readPage<Row extends object>(
  client: PoolClient,
  { text, values }: { text: string; values: readonly unknown[] },
  { limit, bytesMax = pageBytesMax }: { limit: number; bytesMax?: number },
): Promise<Page<Row>> {
  const page: Page<Row> = { rows: [], isCut: false };
  let sum = 0;
  await client.query(`DECLARE page NO SCROLL CURSOR FOR ${text}`, [...values]);
  for (let fetch = Math.min(rowsFirst, limit); fetch > 0;) {
    const { rows } = await client.query<Row & { bytes: number }>(`FETCH ${fetch} FROM page`);
    for (const { bytes, ...row } of rows) {
      // One that does not fit is the first of the next page.
      page.isCut = page.rows.length > 0 && sum + bytes > bytesMax;
      if (page.isCut) break;
      page.rows.push(row as unknown as Row);
      sum += bytes;
    }
    if (page.isCut || rows.length < fetch) break;
    const each = Math.max(1, sum / page.rows.length);
    fetch = Math.min(limit - page.rows.length, Math.max(1, Math.floor(bytesAtOnce / each)));
  }
  await client.query('CLOSE page');
  return page;
}
