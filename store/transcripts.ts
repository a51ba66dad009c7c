/**
 * What a run's model saw and said, as content blocks (activities/llm/model-provider.ts). Odd numbers are what it said, even ones
 * what it was told: the reply of step n has the number 2n − 1, and what its tools answered 2n, so that a repeated write lands
 * on itself. A task's first message is made from the run itself; a message that opens a turn of a conversation takes a step
 * number of its own, which has no reply.
 */
import { appendRunEvent, type NewRunEvent, type RunKey } from './runs';
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
