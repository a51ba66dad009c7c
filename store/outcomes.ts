/** What callers outside Temporal say of their calls, written into their reservations' rows. */
import { formatUsd, type Usd } from '../core/money';
import type { ReservationStatus } from '../core/budget/reservations';
import { storable } from '../core/storable';
import type { Pool } from './pool';

export interface OutcomeItem {
  operationId: string;
  /** What the call cost; absent when it surely was not billed. */
  costUsd?: Usd;
  /** The claim that it was made under; absent when it was not claimed. */
  claimToken?: string;
  /** An operator's word, which holds whoever claimed. */
  anyClaim?: boolean;
  usage?: unknown;
}

/** How the reservation stood before. Without a status there is none. */
export interface OutcomeAnswer {
  operationId: string;
  status: ReservationStatus | null;
  outcome: 'billed' | 'not_billed' | null;
  outcomeUsd: string | null;
  written: boolean;
  claimedElsewhere: boolean;
}

/** Writes outcomes of one tenant, each operation at most once among them, in one round trip. */
export async function recordOutcomes(
  pool: Pool,
  tenantId: string,
  items: readonly OutcomeItem[],
): Promise<OutcomeAnswer[]> {
  const json = JSON.stringify(
    items.map(({ costUsd, ...item }) =>
      costUsd === undefined ? storable(item) : { ...storable(item), costUsd: formatUsd(costUsd) },
    ),
  );
  const { rows } = await pool.query<{ answers: OutcomeAnswer[] }>(
    'SELECT copilot_internal.record_outcomes($1, $2) AS answers',
    [tenantId, json],
  );
  return rows[0]?.answers ?? [];
}
