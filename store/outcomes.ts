/**
 * How the outcome of a paid call is written into its reservation's row: once by the paid step, under its claim; and in bulk what
 * callers outside Temporal say of their calls.
 */
import type { Resource } from '../core/budget/commands';
import { sentAs } from '../core/resources';
import { formatUsd, parseUsd, type Usd } from '../core/money';
import { storable } from '../core/storable';
import { callHot, hotCall, namedTenant, type HotCall } from './hot-calls';
import { asTenant, type Pool, type PoolClient } from './pool';
import { billedResource } from './resources';
import type { ReservationRow } from './reservation-rows';
import type { OperationKey } from './reservations';

/**
 * What became of a paid call. `result` is what the step returns; it is kept so that a paid answer survives a crash. Of an unverified one
 * the cost is the part that is known: it was at least so much.
 */
export type NewOutcome =
  | { billed: true; costUsd: Usd; isUnverified?: boolean; usage?: unknown; result?: unknown }
  | { billed: false; reason: string };

const writeOutcome = (name: string, more = ''): HotCall => ({
  name,
  text: `SELECT copilot_internal.record_outcome($1, $2,
       coalesce($3::uuid, (SELECT claim_token FROM copilot_internal.reservations WHERE tenant_id = $1 AND operation_id = $2)),
       $4, $5, $6, $7${more})::text AS answer FROM ${namedTenant}`,
});

/** A part is written as such; any other as the version before wrote it: its schema takes that as well. */
const writes = { whole: writeOutcome('record_outcome'), part: writeOutcome('record_part', ', true') };

/**
 * Writes the outcome of a claimed reservation: inside the caller's transaction, or with a pool by itself. Without a token it writes for
 * whoever claimed. True when the outcome is recorded, now or before; false when another execution holds the claim.
 */
export async function recordOutcome(
  client: Pool | PoolClient,
  { tenantId, operationId, claimToken, outcome }: OperationKey & { claimToken?: string; outcome: NewOutcome },
): Promise<boolean> {
  const isPart = outcome.billed && outcome.isUnverified === true;
  const recorded = await callHot(client, isPart ? writes.part : writes.whole, [
    tenantId,
    operationId,
    claimToken ?? null,
    outcome.billed ? 'billed' : 'not_billed',
    outcome.billed ? formatUsd(outcome.costUsd) : null,
    outcome.billed && outcome.usage !== undefined ? JSON.stringify(storable(outcome.usage)) : null,
    JSON.stringify(storable(outcome.billed ? (outcome.result ?? null) : { reason: outcome.reason })),
  ]);
  return recorded === 'true';
}

/**
 * Keeps what a claimed call brought whose cost nobody can tell, inside the caller's transaction: without an outcome it is
 * settled at its grant, as unverified. The same answer as that of `recordOutcome`.
 */
export async function recordUnpriced(
  client: PoolClient,
  {
    tenantId,
    operationId,
    claimToken,
    usage,
    result,
  }: OperationKey & { claimToken?: string; usage: unknown; result: unknown },
): Promise<boolean> {
  const { rowCount } = await client.query(
    `UPDATE copilot_internal.reservations SET outcome_usage = $4, outcome_result = $5
     WHERE tenant_id = $1 AND operation_id = $2 AND claim_token = coalesce($3, claim_token) AND outcome IS NULL`,
    [
      tenantId,
      operationId,
      claimToken ?? null,
      JSON.stringify(storable(usage ?? null)),
      JSON.stringify(storable(result)),
    ],
  );
  return (rowCount ?? 0) > 0;
}

export interface OutcomeItem {
  operationId: string;
  /** What the call cost; absent when it surely was not billed. */
  costUsd?: Usd;
  /** The claim that it was made under; absent when it was not claimed. */
  claimToken?: string;
  /** An operator's word, which holds whoever claimed. */
  anyClaim?: boolean;
  /** The cost is written where the call was granted more than this, or could have been where it went without. Absent: in any case. */
  grantAboveUsd?: Usd | undefined;
  usage?: unknown;
}

/** How the reservation stood before. Without a status there is none. */
export interface OutcomeAnswer extends Pick<ReservationRow, 'operationId' | 'outcome' | 'outcomeUsd'> {
  status: ReservationRow['status'] | null;
  written: boolean;
  claimedElsewhere: boolean;
  /** What the call was granted, where that was too little for its cost to be written; else null. */
  unconfirmedAtUsd?: string | null;
}

const writeOutcomes = hotCall('record_outcomes', 2);

/** Writes outcomes of one tenant, each operation at most once among them, in one round trip. */
export async function recordOutcomes(
  pool: Pool,
  tenantId: string,
  items: readonly OutcomeItem[],
): Promise<OutcomeAnswer[]> {
  return JSON.parse((await callHot(pool, writeOutcomes, [tenantId, inJson(items)])) ?? '[]') as OutcomeAnswer[];
}

const inJson = (items: readonly OutcomeItem[]): string =>
  JSON.stringify(
    items.map(({ costUsd, grantAboveUsd, ...item }) => ({
      ...storable(item),
      ...(costUsd === undefined ? {} : { costUsd: formatUsd(costUsd) }),
      ...(grantAboveUsd === undefined ? {} : { grantAboveUsd: formatUsd(grantAboveUsd) }),
    })),
  );

/** Writes one outcome in a transaction that names its tenant. */
export async function recordOutcomeWithin(client: PoolClient, tenantId: string, item: OutcomeItem): Promise<void> {
  await callHot(client, writeOutcomes, [tenantId, inJson([item])]);
}

/** What one call could have been granted at most: the least limit that covers it; nothing where none of the tenant's own does. */
export async function limitOfCall(
  pool: Pool,
  { tenantId, userId, resource }: { tenantId: string; userId?: string | undefined; resource: Resource },
): Promise<Usd> {
  return asTenant(pool, tenantId, async (client, commitWith) => {
    const billed = await billedResource(client, tenantId, sentAs(resource));
    const { rows } = await commitWith(
      client.query<{ limit: string }>('SELECT trim_scale(copilot_internal.limit_of_call($1, $2, $3))::text AS limit', [
        tenantId,
        userId ?? null,
        billed,
      ]),
    );
    return parseUsd(rows[0]?.limit ?? '0');
  });
}
