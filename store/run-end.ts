/** The end of a run or a conversation on record: what was still open of it ends with it, in one transaction. */
import { withdrawApprovalsOf } from './approvals';
import { asTenant, type Pool } from './pool';
import { appendRunEvent, type RunFailure, type RunKey, type RunStatus } from './runs';
import { endOpenTurns } from './turns';

export interface RunEnd {
  status: Exclude<RunStatus, 'running'>;
  answer?: string | undefined;
  failure?: RunFailure | undefined;
  stoppedBy?: 'budget' | undefined;
  /** Why the turns of a conversation that have not ended are cancelled. A task has none. */
  unanswered?: RunFailure | undefined;
}

/**
 * Ends a run, once, and appends its last event. Nobody is asked any more, and nothing waits for money. A repeat changes
 * nothing; nor does an end of a run that was seen after `lastSeenAt`. Answers whether the run had not ended before.
 */
export async function endRun(
  pool: Pool,
  { tenantId, runId }: RunKey,
  { status, answer, failure, stoppedBy, unanswered }: RunEnd,
  { lastSeenAt }: { lastSeenAt?: string } = {},
): Promise<boolean> {
  return asTenant(pool, tenantId, async (client) => {
    // Whoever adds a message waits for this row, and then finds that the conversation has ended.
    const { rows } = await client.query(
      `WITH run AS (
         UPDATE copilot_internal.runs SET status = $2, answer = $3, failure = $4, waiting = NULL, ended_at = clock_timestamp()
         WHERE run_id = $1 AND status = 'running' AND seen_at = coalesce($5::timestamptz, seen_at) RETURNING run_id
       ), gone AS (
         DELETE FROM copilot_internal.money_waiters WHERE run_id = (SELECT run_id FROM run)
       )
       SELECT FROM run`,
      [runId, status, answer ?? null, failure ? JSON.stringify(failure) : null, lastSeenAt ?? null],
    );
    if (rows.length === 0) return false;
    await withdrawApprovalsOf(client, runId);
    if (unanswered) await endOpenTurns(client, runId, { status: 'cancelled', failure: unanswered });
    const data = { status, ...(failure ? { failure } : {}), ...(stoppedBy ? { stoppedBy } : {}) };
    await appendRunEvent(client, runId, { key: 'ended', type: 'run.ended', data });
    return true;
  });
}
