/** Forgetting what is kept no longer. See `forget_transcripts`, `forget_events` and `forget_leftovers` in migrations/functions. */
import { databaseLimits } from './connections';
import { inTransaction, type Pool } from './pool';

async function count(pool: Pool, call: string, before: Date, max: number): Promise<number> {
  const forget = `SELECT copilot_internal.${call}($1, $2) AS forgotten`;
  const { rows } = await inTransaction(pool, (client) => client.query<{ forgotten: number }>(forget, [before, max]), {
    statementMs: databaseLimits.longStatementMs,
  });
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
