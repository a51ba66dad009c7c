/** The ledger, line by line. */
import type { Resource } from '../core/budget/commands';
import type { Labels } from '../core/labels';
import { readPage } from './pages';
import { asTenant, type Pool } from './pool';

export interface CostRecordFilter {
  from?: Date | undefined;
  to?: Date | undefined;
  userId?: string | undefined;
  /** A run, or a conversation. */
  runId?: string | undefined;
  conversationId?: string | undefined;
  operationId?: string | undefined;
  model?: string | undefined;
  kind?: string | undefined;
  resource?: Resource | undefined;
  settlement?: 'actual' | 'unverified' | undefined;
  /** All of them. */
  labels?: Labels | undefined;
}

export interface CostRecord {
  /** Grows with each line; a string, since it can pass what a JSON number holds. */
  costRecordId: string;
  operationId: string;
  entry: string;
  tenantId: string;
  userId: string | null;
  /** Of a task. */
  runId: string | null;
  conversationId: string | null;
  turnId: string | null;
  kind: string;
  resource: Resource;
  model: string | null;
  priceVersion: string | null;
  amountUsd: string;
  estimatedUsd: string | null;
  settlement: 'actual' | 'unverified';
  usage: unknown;
  postedAt: Date;
  recordedAt: Date;
  /** Why a person corrected it, of an adjustment. */
  reason: string | null;
  labels: Labels | null;
}

/** A tenant's ledger lines that match, in the order in which they were written, after a line; a page of them. */
export async function listCostRecords(
  pool: Pool,
  {
    tenantId,
    filter,
    after,
    limit,
  }: { tenantId: string; filter: CostRecordFilter; after?: string | undefined; limit: number },
): Promise<{ records: CostRecord[]; hasMore: boolean }> {
  const { from, to, userId, runId, conversationId, operationId, model, kind, resource, settlement, labels } = filter;
  return asTenant(pool, tenantId, async (client) => {
    const text = `SELECT c.cost_record_id::text AS "costRecordId", c.operation_id AS "operationId", c.entry, c.tenant_id AS "tenantId",
              c.user_id AS "userId", CASE WHEN u.type = 'conversation' THEN NULL ELSE c.run_id END AS "runId",
              CASE WHEN u.type = 'conversation' THEN c.run_id END AS "conversationId",
              (SELECT t.turn_id FROM copilot_internal.turns t
               WHERE t.run_id = c.run_id AND t.opening_step < r.step ORDER BY t.opening_step DESC LIMIT 1) AS "turnId",
              c.kind, c.resource, c.model, c.price_version AS "priceVersion", trim_scale(c.amount_usd)::text AS "amountUsd",
              trim_scale(c.estimated_usd)::text AS "estimatedUsd", c.settlement, c.usage, c.posted_at AS "postedAt",
              c.recorded_at AS "recordedAt", c.reason, c.labels,
              400 + coalesce(octet_length(c.usage::text), 0) + coalesce(octet_length(c.reason), 0) + coalesce(octet_length(c.labels::text), 0) AS bytes
       FROM copilot_internal.cost_records c
       LEFT JOIN copilot_internal.runs u ON u.run_id = c.run_id
       LEFT JOIN copilot_internal.reservations r ON r.tenant_id = c.tenant_id AND r.operation_id = c.operation_id
       WHERE c.tenant_id = $1 AND c.cost_record_id > coalesce($2::bigint, 0)
         AND ($3::timestamptz IS NULL OR c.posted_at >= $3) AND ($4::timestamptz IS NULL OR c.posted_at < $4)
         AND ($5::text IS NULL OR c.user_id = $5) AND ($6::uuid IS NULL OR c.run_id = $6)
         AND ($7::uuid IS NULL OR (c.run_id = $7 AND u.type = 'conversation'))
         AND ($8::uuid IS NULL OR c.operation_id = $8) AND ($9::text IS NULL OR c.model = $9)
         AND ($10::text IS NULL OR c.kind = $10) AND ($11::text IS NULL OR c.resource = $11)
         AND ($12::text IS NULL OR c.settlement = $12) AND ($14::jsonb IS NULL OR c.labels @> $14)
       ORDER BY c.cost_record_id LIMIT $13`;
    const values = [
      tenantId,
      after ?? null,
      from ?? null,
      to ?? null,
      userId ?? null,
      runId ?? null,
      conversationId ?? null,
      operationId ?? null,
      model ?? null,
      kind ?? null,
      resource ?? null,
      settlement ?? null,
      limit,
      labels ? JSON.stringify(labels) : null,
    ];
    const { rows: records, isCut } = await readPage<CostRecord>(client, { text, values }, { limit });
    return { records, hasMore: isCut || records.length === limit };
  });
}
