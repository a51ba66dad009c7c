/**
 * The turns of a conversation: a user's message and what came of it. A message is stored before its workflow hears of it, so
 * the queue is here: whatever becomes of a process or of a signal, the oldest queued turn is the next.
 */
import { databaseLimits } from './connections';
import { endWaits } from './money-waiters';
import { appendRunEvent, lockRun, type RunFailure, type RunKey } from './runs';
import { readPage } from './pages';
import { asTenant, asTenantTaking, type Pool, type PoolClient } from './pool';
import { messageSequence, writeTranscriptMessage } from './transcripts';

export type TurnStatus = 'queued' | 'running' | TurnEnd['status'];

export interface TurnEnd {
  status: 'completed' | 'quota_exceeded' | 'failed' | 'interrupted' | 'cancelled';
  failure?: RunFailure | undefined;
  stoppedBy?: 'budget' | undefined;
}

export interface AddedTurn {
  turnId: string;
  number: number;
  status: TurnStatus;
  /** The last event of the conversation from before the message. */
  afterSequence: number;
}

/**
 * Stores a message at the end of the queue. A repeat with the same turn id answers with how it stands. Undefined when the
 * tenant has no such conversation, or it has ended.
 */
export async function addTurn(
  pool: Pool,
  { tenantId, runId }: RunKey,
  { turnId, message }: { turnId: string; message: string },
): Promise<AddedTurn | undefined> {
  return asTenantTaking(databaseLimits.patientMs)(pool, tenantId, async (client, commitWith) => {
    const { rows } = await commitWith(
      client.query<AddedTurn>(
        `SELECT turn_id AS "turnId", number, status, after_sequence AS "afterSequence"
         FROM copilot_internal.add_turn($1, $2, $3)`,
        [runId, turnId, message],
      ),
    );
    return rows[0];
  });
}

/**
 * Takes the oldest queued turn, or again the one that runs: its message becomes part of the transcript, under a step number
 * of its own, behind all that was said: a workflow that was reset may have counted less. Undefined when none waits. Waits no longer than
 * `lockMs` for each lock, where that is given.
 */
export async function beginTurn(
  pool: Pool,
  { tenantId, runId }: RunKey,
  { openingStep, attachment, lockMs }: { openingStep: number; attachment: string; lockMs?: number | undefined },
): Promise<{ turnId: string; openingStep: number } | undefined> {
  const take = async (client: PoolClient): Promise<{ turnId: string; openingStep: number } | undefined> => {
    await lockRun(client, runId);
    const { rows } = await client.query<{ turnId: string; openingStep: number; message: string; number: number }>(
      `UPDATE copilot_internal.turns SET status = 'running', started_at = coalesce(started_at, clock_timestamp()),
         opening_step = coalesce(opening_step, greatest($2, (
           SELECT (coalesce(max(sequence), 0) + 1) / 2 + 1 FROM copilot_internal.transcript_messages WHERE run_id = $1)))
       WHERE turn_id = (SELECT turn_id FROM copilot_internal.turns WHERE run_id = $1 AND status IN ('running', 'queued')
                        ORDER BY status = 'running' DESC, number LIMIT 1)
       RETURNING turn_id AS "turnId", opening_step AS "openingStep", message, number`,
      [runId, openingStep],
    );
    const turn = rows[0];
    if (!turn) return undefined;
    const text = turn.number === 1 ? `${turn.message}${attachment}` : turn.message;
    await writeTranscriptMessage(client, {
      tenantId,
      runId,
      sequence: messageSequence(turn.openingStep),
      role: 'user',
      content: [{ type: 'text', text }],
    });
    const data = { turnId: turn.turnId, number: turn.number };
    await appendRunEvent(client, runId, { key: `turn-${turn.turnId}`, type: 'turn.started', data });
    return { turnId: turn.turnId, openingStep: turn.openingStep };
  };
  return asTenant(pool, tenantId, take, lockMs === undefined ? {} : { settings: { lock_timeout: String(lockMs) } });
}

/** Ends a turn, once, and appends the event that tells of it. */
export async function endTurn(
  pool: Pool,
  { tenantId, runId }: RunKey,
  { turnId, ...end }: TurnEnd & { turnId: string },
): Promise<void> {
  await asTenant(pool, tenantId, async (client) => {
    const ended = await endTurns(client, runId, end, 'turn_id = $4 AND ended_at IS NULL', [turnId]);
    // A wait of an execution that was reset before it began to wait: nobody else ends it.
    if (ended.length > 0) await endWaits(client, runId);
  });
}

/** Ends a turn that has not begun. Answers whether it did. */
export async function endQueuedTurn(
  pool: Pool,
  { tenantId, runId }: RunKey,
  { turnId, ...end }: TurnEnd & { turnId: string },
): Promise<boolean> {
  return asTenant(pool, tenantId, async (client) => {
    const ended = await endTurns(client, runId, end, `turn_id = $4 AND status = 'queued'`, [turnId]);
    return ended.length > 0;
  });
}

/** Ends what has not ended of a conversation that ends: what waits, and what was taken from the queue at that very moment. */
export async function endOpenTurns(client: PoolClient, runId: string, end: TurnEnd): Promise<void> {
  await endTurns(client, runId, end, 'ended_at IS NULL');
}

async function endTurns(
  client: PoolClient,
  runId: string,
  { status, failure, stoppedBy }: TurnEnd,
  which: string,
  parameters: unknown[] = [],
): Promise<string[]> {
  await lockRun(client, runId);
  const { rows } = await client.query<{ turn_id: string }>(
    `UPDATE copilot_internal.turns SET status = $2, failure = $3, ended_at = clock_timestamp()
     WHERE run_id = $1 AND ${which} RETURNING turn_id`,
    [runId, status, failure ? JSON.stringify(failure) : null, ...parameters],
  );
  for (const { turn_id: turnId } of rows) {
    const data = { turnId, status, ...(failure ? { failure } : {}), ...(stoppedBy ? { stoppedBy } : {}) };
    await appendRunEvent(client, runId, { key: `turn-ended-${turnId}`, type: 'turn.ended', data });
  }
  return rows.map((row) => row.turn_id);
}

export interface TurnView {
  turnId: string;
  number: number;
  message: string;
  status: TurnStatus;
  failure: RunFailure | null;
  /** It was answered with what there was: its money was used up. */
  stoppedBy: 'budget' | null;
  /** What its steps have cost so far. */
  costUsd: string;
  createdAt: Date;
  startedAt: Date | null;
  endedAt: Date | null;
}

/** A conversation's turns in order, after a number, as many as one answer holds. */
export async function listTurns(
  pool: Pool,
  { tenantId, runId }: RunKey,
  { afterNumber = 0, limit = 100, turnId }: { afterNumber?: number; limit?: number; turnId?: string } = {},
): Promise<{ turns: TurnView[]; hasMore: boolean }> {
  return asTenant(pool, tenantId, async (client) => {
    // Each cost is looked at once, however many turns there are: a turn has the steps from its first to the next one's.
    const text = `WITH opened AS (
         SELECT turn_id, row_number() OVER (ORDER BY opening_step) AS place
         FROM copilot_internal.turns WHERE run_id = $1 AND opening_step IS NOT NULL
       ), costs AS (
         SELECT width_bucket(r.step, ARRAY(SELECT opening_step FROM copilot_internal.turns
                                           WHERE run_id = $1 AND opening_step IS NOT NULL ORDER BY opening_step)) AS place,
                sum(c.amount_usd) AS usd
         FROM copilot_internal.cost_records c
         JOIN copilot_internal.reservations r ON r.tenant_id = c.tenant_id AND r.operation_id = c.operation_id
         WHERE c.run_id = $1 GROUP BY 1
       )
       SELECT t.turn_id AS "turnId", t.number, t.message, t.status, t.failure, t.created_at AS "createdAt",
              t.started_at AS "startedAt", t.ended_at AS "endedAt", e.data ->> 'stoppedBy' AS "stoppedBy", trim_scale(coalesce(costs.usd, 0))::text AS "costUsd",
              500 + octet_length(t.message) AS bytes
       FROM copilot_internal.turns t LEFT JOIN opened USING (turn_id) LEFT JOIN costs USING (place)
       LEFT JOIN copilot_internal.run_events e ON e.run_id = t.run_id AND e.event_key = 'turn-ended-' || t.turn_id
       WHERE t.run_id = $1 AND t.number > $2 AND ($4::uuid IS NULL OR t.turn_id = $4) ORDER BY t.number LIMIT $3`;
    const values = [runId, afterNumber, limit, turnId ?? null];
    const { rows: turns, isCut } = await readPage<TurnView>(client, { text, values }, { limit });
    return { turns, hasMore: isCut || turns.length === limit };
  });
}

/** Conversations of all tenants whose oldest queued turn has waited for so long while none was running. */
export async function findUnansweredConversations(
  pool: Pool,
  { waitedMs, max }: { waitedMs: number; max: number },
): Promise<{ tenantId: string; workflowId: string; turnId: string }[]> {
  const { rows } = await pool.query<{ tenantId: string; workflowId: string; turnId: string }>(
    `SELECT tenant_id AS "tenantId", workflow_id AS "workflowId", turn_id AS "turnId"
     FROM copilot_internal.unanswered_conversations($1 * interval '1 millisecond', $2)`,
    [waitedMs, max],
  );
  return rows;
}
