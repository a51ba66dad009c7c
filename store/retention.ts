/** Forgetting what is kept no longer. See migration 0014. */
import type { Pool } from './pool';

async function count(pool: Pool, call: string, before: Date, max: number): Promise<number> {
  const { rows } = await pool.query<{ forgotten: number }>(`SELECT copilot_internal.${call}($1, $2) AS forgotten`, [
    before,
    max,
  ]);
  return rows[0]?.forgotten ?? 0;
}

/** Prompts, answers, programs and files of runs that ended before. Answers of how many, at most `max`. */
export const forgetTranscripts = (pool: Pool, endedBefore: Date, max: number): Promise<number> =>
  count(pool, 'forget_transcripts', endedBefore, max);

/** The events of runs that ended before. */
export const forgetEvents = (pool: Pool, endedBefore: Date, max: number): Promise<number> =>
  count(pool, 'forget_events', endedBefore, max);

/** Answers kept for repeated requests, and deleted tenants whose last period is over. */
export const forgetLeftovers = (pool: Pool, requestsBefore: Date, max: number): Promise<number> =>
  count(pool, 'forget_leftovers', requestsBefore, max);
