/** How an envelope stands, and which one a part is of (docs/decisions/0065-envelopes.md). */
import type { Resource } from '../core/budget/commands';
import { parseUsd, type Usd } from '../core/money';
import { knowsFunction } from './known-functions';
import { asTenant, type Pool, type PoolClient } from './pool';

/** An envelope as people see it. Amounts are decimal strings. */
export interface EnvelopeView {
  resources: Resource[];
  amountUsd: string;
  /** What no part has taken; of one that has ended, what was left of it. */
  restUsd: string;
  partsHoldUsd: string;
  /** What its parts have cost of it. */
  partsSpentUsd: string;
}

export interface OfEnvelope {
  parentOperationId: string | null;
  envelope: EnvelopeView | null;
}

interface Operation {
  tenantId: string;
  operationId: string;
}

const ofNone: OfEnvelope = { parentOperationId: null, envelope: null };

/** Whether a database has a place for them, or is of the version before. */
export const knowsEnvelopes = (client: PoolClient): Promise<boolean> =>
  knowsFunction(client, 'check_envelopes(text, jsonb, jsonb)');

/**
 * What reservations have to do with envelopes, by operation; only those that have something. In a database of the version before there are
 * none.
 */
async function envelopesOf(
  client: PoolClient,
  { tenantId, operationIds }: { tenantId: string; operationIds: readonly string[] },
): Promise<Map<string, OfEnvelope>> {
  if (!(await knowsEnvelopes(client))) return new Map();
  // Only what is open is looked through for parts. What has ended has cost what it took, as long as the envelope was open.
  const { rows } = await client.query<OfEnvelope & { operationId: string }>(
    `SELECT r.operation_id AS "operationId", r.parent_id AS "parentOperationId", CASE WHEN r.envelope_usd IS NOT NULL THEN json_build_object(
       'resources', r.held_on, 'amountUsd', trim_scale(r.envelope_usd)::text, 'restUsd', trim_scale(r.granted_usd)::text,
       'partsHoldUsd', trim_scale(coalesce(parts.usd, 0))::text,
       'partsSpentUsd', trim_scale(r.envelope_usd - r.granted_usd - coalesce(parts.usd, 0))::text) END AS envelope
     FROM copilot_internal.reservations r
     LEFT JOIN (
       SELECT parent_id, sum(granted_usd) AS usd FROM copilot_internal.reservations
       WHERE tenant_id = $1 AND status = 'granted' AND parent_id = ANY ($2::uuid[]) GROUP BY parent_id) AS parts ON parts.parent_id = r.operation_id
     WHERE r.tenant_id = $1 AND r.operation_id = ANY ($2::uuid[]) AND (r.parent_id IS NOT NULL OR r.envelope_usd IS NOT NULL)`,
    [tenantId, operationIds],
  );
  return new Map(rows.map(({ operationId, ...of }) => [operationId, of]));
}

/** Rows of reservations with what they have to do with envelopes. */
export async function withEnvelopes<T extends { operationId: string }>(
  client: PoolClient,
  tenantId: string,
  rows: readonly T[],
): Promise<(T & OfEnvelope)[]> {
  if (rows.length === 0) return [];
  const found = await envelopesOf(client, { tenantId, operationIds: rows.map(({ operationId }) => operationId) });
  return rows.map((row) => ({ ...row, ...(found.get(row.operationId) ?? ofNone) }));
}

/** The same, by itself: undefined for what is no envelope. */
export const readEnvelope = async (pool: Pool, key: Operation): Promise<EnvelopeView | undefined> =>
  (await asTenant(pool, key.tenantId, (client) => withEnvelopes(client, key.tenantId, [key])))[0]?.envelope ??
  undefined;

/** What a run holds for its steps: an envelope that is open still. One that a caller made for it says nothing of attempts. */
export async function findEnvelopeOfRun(
  pool: Pool,
  { tenantId, runId }: { tenantId: string; runId: string },
): Promise<{ operationId: string; restUsd: string } | undefined> {
  const { rows } = await asTenant(pool, tenantId, (client, commitWith) =>
    commitWith(
      client.query<{ operationId: string; restUsd: string }>(
        `SELECT operation_id AS "operationId", trim_scale(granted_usd)::text AS "restUsd" FROM copilot_internal.reservations
         WHERE tenant_id = $1 AND run_id = $2 AND kind = 'envelope' AND attempt IS NOT NULL AND status = 'granted'
           AND expires_at > clock_timestamp()
         ORDER BY decided_at LIMIT 1`,
        [tenantId, runId],
      ),
    ),
  );
  return rows[0];
}

/** What is left of an open envelope; undefined for what is none, or has ended. */
export async function readRest(pool: Pool, { tenantId, operationId }: Operation): Promise<Usd | undefined> {
  const { rows } = await asTenant(pool, tenantId, (client, commitWith) =>
    commitWith(
      client.query<{ restUsd: string }>(
        `SELECT granted_usd::text AS "restUsd" FROM copilot_internal.reservations
         WHERE tenant_id = $1 AND operation_id = $2 AND kind = 'envelope' AND status = 'granted'`,
        [tenantId, operationId],
      ),
    ),
  );
  return rows[0] && parseUsd(rows[0].restUsd);
}
