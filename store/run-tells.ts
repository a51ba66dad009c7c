/**
 * Telling who watches a run, in whichever process, that something of it is new: by NOTIFY, and not in the transaction that wrote it, since
 * Postgres lets those that notify commit one after the other. What is lost on the way is found by those who watch: they also look.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool } from 'pg';

/** Its name is from when it told of replies alone. */
export const watchChannel = 'spendlock_replies';

/** How far apart a process tells: at most one statement each so many milliseconds, however many events there are. */
const apartMs = 20;

/** Runs that are still to be told of, by the pool that wrote what is new. */
const telling = new WeakMap<Pool, Set<string>>();

/** What tells for a pool. */
const tellers = new WeakMap<Pool, Pool>();

/** Has another pool tell for one, so that nobody is told late because its connections are all held. */
export function tellBy(pool: Pool, teller: Pool): void {
  tellers.set(pool, teller);
}

/** Tells it at once, or with the next where something was told just now. Nobody waits for it. */
export function tellWatchers(pool: Pool, runId: string): void {
  const more = telling.get(pool);
  if (more) more.add(runId);
  else void tellAll(pool, new Set([runId]));
}

async function tellAll(pool: Pool, runs: Set<string>): Promise<void> {
  telling.set(pool, runs);
  while (runs.size > 0) {
    const runIds = [...runs];
    runs.clear();
    await (tellers.get(pool) ?? pool)
      .query('SELECT pg_notify($1, run_id) FROM unnest($2::text[]) AS told (run_id)', [watchChannel, runIds])
      .catch(() => undefined);
    await sleep(apartMs, undefined, { ref: false });
  }
  telling.delete(pool);
}
