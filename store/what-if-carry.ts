/** What a tenant had spent and held when a span of its record begins (store/what-if.ts). */
import { periodAt, type Period } from '../core/budget/periods';
import type { Payer, Quota } from '../core/budget/quotas';
import type { Carried, Recorded } from '../core/budget/what-if-record';
import type { Labels } from '../core/labels';
import { parseUsd } from '../core/money';
import type { PoolClient } from './pool';

/** Who plays a record. */
export interface Player {
  /** The limits that stood before the first event. */
  begin: (quotas: readonly Quota[], fromMs: number) => void;
  /** What was held before it, or spent in what a period had gone by then. */
  carry: (payer: Payer, sums: Carried) => void;
  play: (event: Recorded) => void;
}

/** How limits count labels: `other` in place of a value that is not told apart, of keys whose values have limits by default. */
export type Counted = (labels: unknown) => Labels | undefined;

type Sum = { userId: string | null; resource: string; labels: unknown; heldOn?: string[] | null; usd: string };

/** What was held when a span begins, and what was spent in each period that had begun. */
export async function carryOver(
  client: PoolClient,
  {
    tenantId,
    begin,
    periods,
    counted,
    hasEnvelopes,
  }: { tenantId: string; begin: Date; periods: ReadonlySet<Period>; counted: Counted; hasEnvelopes: boolean },
  player: Player,
): Promise<void> {
  const payerOf = ({ userId, resource, labels, heldOn }: Sum): Payer => ({
    userId: userId ?? undefined,
    resource,
    labels: counted(labels),
    heldOn: heldOn ?? undefined,
  });
  for (const period of periods) {
    const { rows } = await client.query<Sum>(
      `SELECT user_id AS "userId", resource, labels, sum(amount_usd)::text AS usd FROM copilot_internal.cost_records
       WHERE tenant_id = $1 AND posted_at >= $2 AND posted_at < $3 AND (entry = 'commit' OR recorded_at < $3)
       GROUP BY user_id, resource, labels`,
      [tenantId, periodAt(period, begin).start, begin],
    );
    for (const sum of rows) player.carry(payerOf(sum), { period, spentUsd: parseUsd(sum.usd) });
  }
  const { rows } = await client.query<Sum>(
    `SELECT user_id AS "userId", resource, labels${hasEnvelopes ? ', held_on AS "heldOn"' : ''}, sum(granted_usd)::text AS usd
     FROM copilot_internal.reservations
     WHERE tenant_id = $1 AND granted_usd > 0 AND decided_at < $2 AND (ended_at IS NULL OR ended_at >= $2)
       ${hasEnvelopes ? 'AND envelope_usd IS NULL' : ''}
     GROUP BY user_id, resource, labels${hasEnvelopes ? ', held_on' : ''}`,
    [tenantId, begin],
  );
  for (const sum of rows) player.carry(payerOf(sum), { reservedUsd: parseUsd(sum.usd) });
  if (!hasEnvelopes) return;
  const { rows: envelopes } = await client.query<Sum & { envelopeId: string }>(restsAt, [tenantId, begin]);
  for (const { envelopeId, ...sum } of envelopes)
    player.carry(payerOf(sum), { reservedUsd: parseUsd(sum.usd), envelopeId });
}

/** What envelopes that were open at a moment ($2) had left then: less what their parts had taken, and with what those had given back. */
const restsAt = `
  SELECT e.operation_id AS "envelopeId", e.user_id AS "userId", e.resource, e.labels, e.held_on AS "heldOn",
         (e.envelope_usd - coalesce(sum(p.granted_usd - CASE WHEN p.ended_at < $2 THEN coalesce(p.returned_usd, 0) ELSE 0 END), 0))::text AS usd
  FROM copilot_internal.reservations e
  LEFT JOIN copilot_internal.reservations p
    ON p.tenant_id = $1 AND p.parent_id = e.operation_id AND p.granted_usd IS NOT NULL AND p.decided_at < $2
  WHERE e.tenant_id = $1 AND e.envelope_usd IS NOT NULL AND e.decided_at < $2 AND (e.ended_at IS NULL OR e.ended_at >= $2)
  GROUP BY e.operation_id, e.user_id, e.resource, e.labels, e.held_on, e.envelope_usd`;
