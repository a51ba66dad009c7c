/**
 * What a run's model saw and said, in the provider's message format. The first message is made from the run itself; the
 * reply of step n has the number 2n − 1, and what its tools answered 2n, so that a repeated write lands on itself.
 */
import { appendRunEvent, type NewRunEvent, type RunKey } from './runs';
import { asTenant, type Pool, type PoolClient } from './pool';

export interface TranscriptMessage {
  sequence: number;
  role: 'user' | 'assistant';
  /** The provider's content blocks. */
  content: unknown[];
}

export const replySequence = (step: number): number => 2 * step - 1;
export const toolResultSequence = (step: number): number => 2 * step;

export async function readTranscript(pool: Pool, { tenantId, runId }: RunKey): Promise<TranscriptMessage[]> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<TranscriptMessage>(
      'SELECT sequence, role, content FROM copilot_internal.transcript_messages WHERE run_id = $1 ORDER BY sequence',
      [runId],
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
