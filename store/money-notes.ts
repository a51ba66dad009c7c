/** What models were told of the money of their runs: events of the run, each of which names the message after which it was said. */
import { asTenant, type Pool } from './pool';
import { appendRunEvent, type RunKey } from './runs';

export interface MoneyNote {
  /** The run or the turn whose limit it tells of. */
  of: string;
  /** How much of it was used up, in percent, or that it is the last call. */
  level: number | 'last';
  /** 0 is before all messages of the transcript. */
  afterSequence: number;
  text: string;
}

const type = 'budget.told';

/** What was said so far, in order. */
export async function readMoneyNotes(pool: Pool, { tenantId, runId }: RunKey): Promise<MoneyNote[]> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<{ data: MoneyNote }>(
      'SELECT data FROM copilot_internal.run_events WHERE run_id = $1 AND type = $2 ORDER BY sequence',
      [runId, type],
    );
    return rows.map(({ data }) => data);
  });
}

/** Says it, once for each level of a run or turn. */
export async function writeMoneyNote(
  pool: Pool,
  { tenantId, runId }: RunKey,
  note: MoneyNote & { limitUsd: string; leftUsd: string },
): Promise<void> {
  const key = `budget-told-${note.of}-${note.level}`;
  await asTenant(pool, tenantId, (client) => appendRunEvent(client, runId, { key, type, data: { ...note } }));
}
