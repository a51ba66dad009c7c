/** What a run leaves in Postgres when it ends. */
import type { Pool } from '../../store/pool';
import { endRun } from '../../store/runs';
import { readTranscript } from '../../store/transcripts';
import type { LedgerActivities } from '../contracts/ledger';

export function createLedgerActivities({ pool }: { pool: Pool }): LedgerActivities {
  return {
    async endRun({ tenantId, runId, status, failure }) {
      const answer = status === 'completed' ? await lastText(pool, { tenantId, runId }) : undefined;
      await endRun(pool, { tenantId, runId }, { status, answer, failure });
    },
  };
}

/** The text of the last reply. */
async function lastText(pool: Pool, run: { tenantId: string; runId: string }): Promise<string> {
  const transcript = await readTranscript(pool, run);
  const reply = transcript.findLast((message) => message.role === 'assistant');
  const blocks = (reply?.content ?? []) as { type: string; text?: string }[];
  return blocks.flatMap((block) => (block.type === 'text' ? [block.text ?? ''] : [])).join('\n');
}
