/** What the operations of a span cost and used, to be priced anew: each once, with all that was corrected of it since. */
import { parseUsd } from '../core/money';
import type { UsedCall } from '../core/prices/repricing';
import { asTenant, type Pool } from './pool';
import { spanRead, spanWithinMs } from './span-read';

const callsAtOnce = 2_000;

/**
 * Tells each of them, some at a time, in one snapshot: those whose cost was posted in the span.
 * @throws what Postgres says of it (`isTooSlow`) when it takes longer than `withinMs`.
 */
export async function readUsedCalls(
  pool: Pool,
  { tenantId, from, to }: { tenantId: string; from: Date; to: Date },
  told: (call: UsedCall) => void,
  withinMs = spanWithinMs,
): Promise<void> {
  await asTenant(
    pool,
    tenantId,
    async (client) => {
      await client.query(
        `DECLARE calls NO SCROLL CURSOR FOR
         SELECT c.resource, c.model, sum(c.amount_usd)::text AS usd, CASE WHEN sum(c.unverified_usd) = 0
           THEN (array_agg(c.usage ORDER BY c.cost_record_id DESC) FILTER (WHERE c.usage IS NOT NULL))[1] END AS usage
         FROM copilot_internal.cost_records c
         WHERE c.tenant_id = $1 AND c.posted_at >= $2 AND c.posted_at < $3 GROUP BY c.operation_id, c.resource, c.model`,
        [tenantId, from, to],
      );
      for (let isMore = true; isMore;) {
        const { rows } = await client.query<{
          resource: string;
          model: string | null;
          usd: string;
          usage: unknown;
        }>(`FETCH ${callsAtOnce} FROM calls`);
        for (const { resource, model, usd, usage } of rows) told({ resource, model, costUsd: parseUsd(usd), usage });
        isMore = rows.length === callsAtOnce;
      }
    },
    spanRead(withinMs),
  );
}
