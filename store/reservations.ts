/** Reservations one by one: claimed once, held for longer, looked up and listed. */
import { parseAmountUsd, type Usd } from '../core/money';
import { withEnvelopes, type OfEnvelope } from './envelopes';
import { callHotAsTenant, namedTenant, type HotCall } from './hot-calls';
import { asTenant, type Pool, type PoolClient } from './pool';
import { columnsOf, type RequestView, type ReservationRow } from './reservation-rows';

export interface OperationKey {
  tenantId: string;
  operationId: string;
}

/** The claim first: only what is claimed is held for longer. */
const claimOnce: HotCall = {
  name: 'claim_reservation',
  text: `SELECT granted AS answer, CASE WHEN granted IS NOT NULL AND $4::numeric IS NOT NULL
           THEN copilot_internal.extend_reservation($1, $2, $4::numeric)::text END
         FROM (SELECT copilot_internal.claim_reservation($1, $2, $3)::text AS granted FROM ${namedTenant} OFFSET 0) AS claim`,
};

/**
 * Claims a reservation for one execution. Succeeds once, for a granted and unexpired one, and again for the same token. From
 * then on it lasts as long as it was asked for once more, or as the call may take where that is longer.
 * Undefined means that there is nothing to spend: no call may be made.
 */
export async function claimReservation(
  pool: Pool,
  {
    tenantId,
    operationId,
    claimToken,
    callSeconds,
  }: OperationKey & { claimToken: string; callSeconds?: number | undefined },
): Promise<Usd | undefined> {
  const granted = await callHotAsTenant(pool, claimOnce, [tenantId, operationId, claimToken, callSeconds ?? null]);
  return granted === null ? undefined : parseAmountUsd(granted);
}

/** Several claims of one tenant. Their rows are locked in the order of their ids, whoever claims. */
const claimSeveral: HotCall = {
  name: 'claim_reservations',
  text: `SELECT json_agg(copilot_internal.claim_reservation($1, asked.operation_id, asked.claim_token)::text)::text AS answer
         FROM ${namedTenant}, (SELECT * FROM unnest($2::uuid[], $3::uuid[]) AS u (operation_id, claim_token) OFFSET 0) AS asked`,
};

/** As {@link claimReservation}, for several reservations of one tenant in one statement: what each may spend, in their order. */
export async function claimReservations(
  pool: Pool,
  tenantId: string,
  claims: readonly { operationId: string; claimToken: string }[],
): Promise<(Usd | undefined)[]> {
  const sorted = [...claims].sort((a, b) => (a.operationId < b.operationId ? -1 : 1));
  const values = [sorted.map(({ operationId }) => operationId), sorted.map(({ claimToken }) => claimToken)];
  const answer = await callHotAsTenant(pool, claimSeveral, [tenantId, ...values]);
  const granted = JSON.parse(answer ?? '[]') as (string | null)[];
  const found = new Map(sorted.map((claim, at) => [claim, granted[at] ?? null]));
  return claims.map((claim) => {
    const text = found.get(claim) ?? null;
    return text === null ? undefined : parseAmountUsd(text);
  });
}

const stateFields = ['status', 'claimed', 'outcome', 'outcomeUsd', 'result'] as const;

/** How far one operation has come. */
export type OperationState = Pick<ReservationRow, (typeof stateFields)[number]>;

/** Undefined when there is no such operation. */
export async function findOperation(pool: Pool, key: OperationKey): Promise<OperationState | undefined> {
  return asTenant(pool, key.tenantId, async (client) => {
    const { rows } = await client.query<OperationState>(
      `SELECT ${columnsOf(stateFields)} FROM copilot_internal.reservations WHERE tenant_id = $1 AND operation_id = $2`,
      [key.tenantId, key.operationId],
    );
    return rows[0];
  });
}

/** The first of some operations, in their order, that was billed and whose answer is kept. */
export async function findBought(
  pool: Pool,
  { tenantId, operationIds }: { tenantId: string; operationIds: readonly string[] },
): Promise<{ operationId: string; result: unknown } | undefined> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<{ operationId: string; result: unknown }>(
      `SELECT operation_id AS "operationId", outcome_result AS result FROM copilot_internal.reservations
       WHERE tenant_id = $1 AND operation_id = ANY ($2::uuid[]) AND claimed_at IS NOT NULL
         AND outcome_result IS NOT NULL AND outcome IS DISTINCT FROM 'not_billed'
       ORDER BY array_position($2::uuid[], operation_id) LIMIT 1`,
      [tenantId, operationIds],
    );
    return rows[0];
  });
}

/** Which of some operations there are, in their one spelling: a mark of a release that came first is one too. */
export async function findKnown(
  pool: Pool,
  { tenantId, operationIds }: { tenantId: string; operationIds: readonly string[] },
): Promise<Set<string>> {
  return asTenant(pool, tenantId, async (client, commitWith) => {
    const { rows } = await commitWith(
      client.query<{ operationId: string }>(
        `SELECT operation_id AS "operationId" FROM copilot_internal.reservations WHERE tenant_id = $1 AND operation_id = ANY ($2::uuid[])`,
        [tenantId, operationIds],
      ),
    );
    return new Set(rows.map(({ operationId }) => operationId));
  });
}

/** Which of some operations have an outcome that is not in the ledger yet, in their one spelling. */
export async function findUnfolded(
  pool: Pool,
  { tenantId, operationIds }: { tenantId: string; operationIds: readonly string[] },
): Promise<Set<string>> {
  return asTenant(pool, tenantId, async (client, commitWith) => {
    const { rows } = await commitWith(
      client.query<{ operationId: string }>(
        `SELECT operation_id AS "operationId" FROM copilot_internal.reservations
         WHERE tenant_id = $1 AND operation_id = ANY ($2::uuid[]) AND outcome IS NOT NULL AND NOT outcome_folded`,
        [tenantId, operationIds],
      ),
    );
    return new Set(rows.map(({ operationId }) => operationId));
  });
}

const viewFields = [
  ...([
    'operationId',
    'userId',
    'runId',
    'workflowId',
    'resource',
    'kind',
    'model',
    'labels',
    'status',
    'refused',
    'requestedUsd',
    'grantedUsd',
    'unreserved',
    'allowedUsd',
  ] as const),
  ...(['committedUsd', 'overrunUsd', 'settlement', 'claimed', 'outcome', 'outcomeUsd'] as const),
  ...(['decidedAt', 'expiresAt', 'endedAt'] as const),
] as const;

/** A reservation as its caller sees it. */
export type ReservationView = RequestView<(typeof viewFields)[number]>;

/** Undefined when there is none, and for the mark of a release that came before its reserve. */
export async function readReservation(
  pool: Pool,
  key: OperationKey,
): Promise<(ReservationView & OfEnvelope) | undefined> {
  return asTenant(pool, key.tenantId, async (client) => {
    const { rows } = await client.query<ReservationView>(
      `SELECT ${columnsOf(viewFields)} FROM copilot_internal.reservations
       WHERE tenant_id = $1 AND operation_id = $2 AND resource IS NOT NULL`,
      [key.tenantId, key.operationId],
    );
    return (await withEnvelopes(client, key.tenantId, rows))[0];
  });
}

/** The open reservations of a tenant, those that run out first; with `unverified`, those whose cost nobody knows instead. */
export async function listReservations(
  pool: Pool,
  { tenantId, ...which }: { tenantId: string } & WhichReservations,
): Promise<PlacedReservation[]> {
  return asTenant(pool, tenantId, (client) => reservationsOf(client, tenantId, which));
}

/** Where a reservation is in a list of them: a moment in Postgres' precision. */
export type PlacedReservation = ReservationView & OfEnvelope & { placedAt: string };

interface WhichReservations {
  unverified?: boolean;
  /** Those after this one of the list. */
  after?: { placedAt: string; operationId: string } | undefined;
  limit?: number;
}

/** Also what had ended at no cost before a part of its cost came to be known. */
const isUnverified = `(settlement = 'unverified' OR (outcome_unverified AND status IN ('released', 'expired')))`;

/** The same within the caller's transaction. */
export async function reservationsOf(
  client: PoolClient,
  tenantId: string,
  { unverified = false, after, limit = 1_000 }: WhichReservations = {},
): Promise<PlacedReservation[]> {
  const at = unverified ? 'ended_at' : 'expires_at';
  const { rows } = await client.query<ReservationView & { placedAt: string }>(
    `SELECT ${columnsOf(viewFields)}, to_char(${at} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS "placedAt" FROM copilot_internal.reservations
     WHERE tenant_id = $1 AND ${unverified ? isUnverified : `status = 'granted'`}
       AND ($3::timestamptz IS NULL OR (${at}, operation_id) > ($3, $4::uuid))
     ORDER BY ${at}, operation_id LIMIT $2`,
    [tenantId, limit, after?.placedAt ?? null, after?.operationId ?? null],
  );
  return withEnvelopes(client, tenantId, rows);
}

/** Holds a granted reservation for at least so long from now. Undefined when it is not granted, or has run out. */
export async function extendReservation(
  pool: Pool,
  { tenantId, operationId, ttlSeconds }: OperationKey & { ttlSeconds: number },
): Promise<Date | undefined> {
  return asTenant(pool, tenantId, async (client, commitWith) => {
    const { rows } = await commitWith(
      client.query<{ expires_at: Date | null }>(
        'SELECT copilot_internal.extend_reservation($1, $2, $3) AS expires_at',
        [tenantId, operationId, ttlSeconds],
      ),
    );
    return rows[0]?.expires_at ?? undefined;
  });
}
