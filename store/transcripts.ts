/**
 * What a run's model saw and said, as content blocks (activities/llm/model-provider.ts). Odd numbers are what it said, even ones
 * what it was told: the reply of step n has the number 2n − 1, and what its tools answered 2n, so that a repeated write lands
 * on itself. A task's first message is made from the run itself; a message that opens a turn of a conversation takes a step
 * number of its own, which has no reply.
 */
import { appendRunEvent, type NewRunEvent, type RunKey } from './runs';
import { readPage } from './pages';
import { asTenant, type Pool, type PoolClient } from './pool';

export interface TranscriptMessage {
  sequence: number;
  role: 'user' | 'assistant';
  /** Content blocks. */
  content: unknown[];
}

export const replySequence = (step: number): number => 2 * step - 1;
export const toolResultSequence = (step: number): number => 2 * step;
/** The message that opens a turn. */
export const messageSequence = (openingStep: number): number => 2 * openingStep;

/** What stands for the messages up to a number: a summary, and shortened tool results beyond it. */
export interface Compaction {
  throughSequence: number;
  /** Undefined: nothing is left out, tool results up to there are shortened. */
  summary?: string | undefined;
}

/** The compactions that are in force: the last summary, and the last shortening. */
export async function readCompactions(
  pool: Pool,
  { tenantId, runId }: RunKey,
): Promise<{ summary?: { throughSequence: number; text: string }; shortenedThrough: number }> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<{ throughSequence: number; summary: string | null }>(
      `SELECT DISTINCT ON (summary IS NULL) through_sequence AS "throughSequence", summary
       FROM copilot_internal.context_compactions WHERE run_id = $1
       ORDER BY summary IS NULL, through_sequence DESC, created_at DESC`,
      [runId],
    );
    const made = rows.find((row) => row.summary !== null);
    const shortened = rows.find((row) => row.summary === null);
    return {
      ...(made ? { summary: { throughSequence: made.throughSequence, text: made.summary ?? '' } } : {}),
      shortenedThrough: shortened?.throughSequence ?? 0,
    };
  });
}

/** Records a compaction, inside the caller's transaction. A repeat changes nothing. */
export async function writeCompaction(
  client: PoolClient,
  { tenantId, runId, operationId, throughSequence, summary }: RunKey & Compaction & { operationId?: string },
): Promise<void> {
  await client.query(
    `INSERT INTO copilot_internal.context_compactions (run_id, tenant_id, through_sequence, summary, operation_id)
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
    [runId, tenantId, throughSequence, summary ?? null, operationId ?? null],
  );
}

/** The messages after a number, in order. */
export async function readTranscript(
  pool: Pool,
  { tenantId, runId, afterSequence = 0, limit = 10_000 }: RunKey & { afterSequence?: number; limit?: number },
): Promise<TranscriptMessage[]> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<TranscriptMessage>(
      `SELECT sequence, role, content FROM copilot_internal.transcript_messages
       WHERE run_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3`,
      [runId, afterSequence, limit],
    );
    return rows;
  });
}

/** The same for whoever pages through them: as many as one answer holds. */
export async function readTranscriptPage(
  pool: Pool,
  { tenantId, runId, afterSequence, limit }: RunKey & { afterSequence: number; limit: number },
): Promise<{ messages: (TranscriptMessage & { createdAt: Date })[]; hasMore: boolean }> {
  return asTenant(pool, tenantId, async (client) => {
    const text = `SELECT sequence, role, content, created_at AS "createdAt", octet_length(content::text) AS bytes FROM copilot_internal.transcript_messages
       WHERE run_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3`;
    const values = [runId, afterSequence, limit];
    const { rows: messages, isCut } = await readPage<TranscriptMessage & { createdAt: Date }>(
      client,
      { text, values },
      { limit },
    );
    return { messages, hasMore: isCut || messages.length === limit };
  });
}

/** Writes one message, inside the caller's transaction. One that is there stays as it is. */
export async function writeTranscriptMessage(
  client: PoolClient,
  { tenantId, runId, operationId, ...message }: RunKey & TranscriptMessage & { operationId?: string },
): Promise<void> {
  await client.query(
    `INSERT INTO copilot_internal.transcript_messages (run_id, tenant_id, sequence, role, content, operation_id)
     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
    [runId, tenantId, message.sequence, message.role, JSON.stringify(message.content), operationId ?? null],
  );
}

/** Whose reply a step goes on with. */
export type KeptReply = { kept: true } | { kept: false; usedInstead?: string | undefined };

/**
 * Writes the reply of a step, inside the caller's transaction, unless the run goes on with another one: a reply of the same step
 * was written before (by another attempt, or before the workflow was reset), or something came after it. Then tells whose.
 */
export async function writeReply(
  client: PoolClient,
  { tenantId, runId, operationId, step, content }: RunKey & { operationId: string; step: number; content: unknown[] },
): Promise<KeptReply> {
  const sequence = replySequence(step);
  await client.query(
    `INSERT INTO copilot_internal.transcript_messages (run_id, tenant_id, sequence, role, content, operation_id)
     SELECT $1, $2, $3, 'assistant', $4, $5
     WHERE NOT EXISTS (SELECT FROM copilot_internal.transcript_messages WHERE run_id = $1 AND sequence >= $3) ON CONFLICT DO NOTHING`,
    [runId, tenantId, sequence, JSON.stringify(content), operationId],
  );
  const { rows } = await client.query<{ operation_id: string | null }>(
    'SELECT operation_id FROM copilot_internal.transcript_messages WHERE run_id = $1 AND sequence = $2',
    [runId, sequence],
  );
  const winner = rows[0]?.operation_id ?? undefined;
  return winner === operationId ? { kept: true } : { kept: false, usedInstead: winner };
}

/** What the transcript has of a step. */
export interface StepRecord {
  /** Its reply: what the operation that bought it answered to its workflow; its content where that is not on record. */
  reply?: { operationId: string | undefined; result: unknown; content: unknown[] };
  toolsAnswered: boolean;
  /** The run has gone on beyond this step without a reply of it. */
  isPast: boolean;
}

export async function readStep(pool: Pool, { tenantId, runId, step }: RunKey & { step: number }): Promise<StepRecord> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<{
      sequence: number;
      operationId: string | null;
      result: unknown;
      content: unknown[];
    }>(
      `SELECT m.sequence, m.operation_id AS "operationId", CASE WHEN m.sequence = $2 THEN m.content END AS content,
              CASE WHEN m.sequence = $2 AND r.outcome_result ? 'stopReason' THEN r.outcome_result END AS result
       FROM copilot_internal.transcript_messages m
       LEFT JOIN copilot_internal.reservations r ON r.tenant_id = m.tenant_id AND r.operation_id = m.operation_id
       WHERE m.run_id = $1 AND m.sequence >= $2 ORDER BY m.sequence LIMIT 2`,
      [runId, replySequence(step)],
    );
    const reply = rows.find(({ sequence }) => sequence === replySequence(step));
    return {
      ...(reply ? { reply: { ...reply, operationId: reply.operationId ?? undefined } } : {}),
      toolsAnswered: rows.some(({ sequence }) => sequence === toolResultSequence(step)),
      isPast: rows.length > 0 && !reply,
    };
  });
}

/** What the operation that bought the last reply of a run kept with it; undefined where there is none. */
export async function readLastResult(pool: Pool, { tenantId, runId }: RunKey): Promise<unknown> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<{ result: unknown }>(
      `SELECT r.outcome_result AS result FROM copilot_internal.transcript_messages m
       LEFT JOIN copilot_internal.reservations r ON r.tenant_id = m.tenant_id AND r.operation_id = m.operation_id
       WHERE m.run_id = $1 AND m.role = 'assistant' ORDER BY m.sequence DESC LIMIT 1`,
      [runId],
    );
    return rows[0]?.result ?? undefined;
  });
}

/** Writes one message and the event that tells of it. */
export async function appendToTranscript(
  pool: Pool,
  message: RunKey & TranscriptMessage & { operationId?: string },
  event: NewRunEvent,
): Promise<void> {
  await asTenant(pool, message.tenantId, async (client) => {
    await writeTranscriptMessage(client, message);
    await appendRunEvent(client, message.runId, event);
  });
}
