/**
 * A reply while it is written, for those who watch it: pieces of its text on their way to the processes that stream them. They
 * are no record. A watcher is told of new ones by NOTIFY.
 */
import { asTenant, type Pool, type PoolClient } from './pool';
import { watchChannel } from './run-tells';

export interface ReplyDelta {
  operationId: string;
  /** Characters of the reply before it. */
  position: number;
  text: string;
}

/** Writes pieces of one run's reply and tells who watches. */
export async function writeDeltas(
  pool: Pool,
  { tenantId, runId, deltas }: { tenantId: string; runId: string; deltas: readonly ReplyDelta[] },
): Promise<void> {
  await asTenant(pool, tenantId, (client, commitWith) =>
    commitWith(
      client.query(
        `WITH added AS (
           INSERT INTO copilot_internal.reply_deltas (run_id, tenant_id, operation_id, position, text)
           SELECT $1, $2, d.operation_id, d.position, d.text
           FROM unnest($3::uuid[], $4::integer[], $5::text[]) AS d (operation_id, position, text)
           ON CONFLICT DO NOTHING)
         SELECT pg_notify($6, $1::text)`,
        [
          runId,
          tenantId,
          deltas.map(({ operationId }) => operationId),
          deltas.map(({ position }) => position),
          deltas.map(({ text }) => text),
          watchChannel,
        ],
      ),
    ),
  );
}

/** Forgets a reply's pieces, inside the transaction that stores it whole. */
export async function dropDeltas(client: PoolClient, runId: string): Promise<void> {
  await client.query('DELETE FROM copilot_internal.reply_deltas WHERE run_id = $1', [runId]);
}

/** What is there of the replies that a run is writing, in order. */
export async function readDeltas(
  pool: Pool,
  { tenantId, runId }: { tenantId: string; runId: string },
): Promise<ReplyDelta[]> {
  return asTenant(pool, tenantId, async (client, commitWith) => {
    const { rows } = await commitWith(
      client.query<ReplyDelta>(
        `SELECT operation_id AS "operationId", position, text FROM copilot_internal.reply_deltas
         WHERE run_id = $1 ORDER BY created_at, operation_id, position`,
        [runId],
      ),
    );
    return rows;
  });
}
