/** What an installation under chaos takes its parts by. */
import { setTimeout as sleep } from 'node:timers/promises';
import { createPool, type Pool } from '../../store/pool';

export const adminPool = (url: string): Pool =>
  createPool(url, { max: 4, limits: { statementMs: 120_000, idleInTransactionMs: 120_000 } });

/** When the last of what a copy of Postgres has was committed, in milliseconds since 1970: it may lag behind the first. */
export async function lastOf(copy: Pool): Promise<number> {
  const { rows } = await copy.query<{ ms: number | null }>(
    'SELECT floor(extract(epoch FROM pg_last_xact_replay_timestamp()) * 1000)::float8 AS ms',
  );
  return rows[0]?.ms ?? Infinity;
}

/** A port or a lock of a killed process may not be free at once. */
export async function insist<T>(start: () => Promise<T>): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await start();
    } catch (error) {
      if (attempt === 20) throw error;
      await sleep(500);
    }
  }
}
