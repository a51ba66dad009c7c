/** What of a run's answers did not fit their schema: told with the reply. */
import { asTenant, type Pool } from './pool';
import type { RunKey } from './runs';

/** Of the last answer that there is; empty where it fits, or no words were lost on it. */
export async function readMisfits(pool: Pool, { tenantId, runId }: RunKey): Promise<string[]> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<{ misfits: string[] | null }>(
      `SELECT data -> 'misfits' AS misfits FROM copilot_internal.run_events
       WHERE run_id = $1 AND type = 'model.replied' ORDER BY sequence DESC LIMIT 1`,
      [runId],
    );
    return rows[0]?.misfits ?? [];
  });
}
