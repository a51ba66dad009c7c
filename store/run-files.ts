/** The files that come with runs and conversations. */
import { asTenant, type Pool } from './pool';
import type { RunKey } from './runs';

/** The file that came with a run. */
export async function readRunFile(
  pool: Pool,
  { tenantId, runId }: RunKey,
): Promise<{ name: string; content: Buffer } | undefined> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<{ name: string; content: Buffer }>(
      'SELECT name, content FROM copilot_internal.run_files WHERE run_id = $1',
      [runId],
    );
    return rows[0];
  });
}

/** A piece of its content. Empty where it was forgotten meanwhile. */
export async function readRunFilePiece(
  pool: Pool,
  { tenantId, runId }: RunKey,
  { from, bytes }: { from: number; bytes: number },
): Promise<Uint8Array> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<{ piece: Buffer }>(
      'SELECT substring(content FROM $2 FOR $3) AS piece FROM copilot_internal.run_files WHERE run_id = $1',
      [runId, from + 1, bytes],
    );
    return rows[0]?.piece ?? new Uint8Array();
  });
}
