/** A tenant whose decisions are recorded, as Postgres keeps them, and played once more (core/budget/what-if.ts). */
import type { BatchDecision } from '../../core/budget/batch';
import type { BudgetCommand } from '../../core/budget/commands';
import type { Quota } from '../../core/budget/quotas';
import { WhatIf, type Difference } from '../../core/budget/what-if';
import type { Recorded, TriedLimit } from '../../core/budget/what-if-record';
import { BudgetModel, type QuotaSpec } from './budget-model';

export const beganMs = Date.UTC(2026, 0, 30, 22);
export const idOf = (n: number): string => `abcdef00-aaaa-4bbb-8ccc-${String(n).padStart(12, '0')}`;

/** In the order of their positions. */
export class RecordedModel extends BudgetModel {
  readonly record: Recorded[] = [];
  private next = 0;

  constructor(quotas: readonly QuotaSpec[]) {
    super(beganMs, quotas);
  }

  newId = (): string => idOf((this.next += 1));

  override decide(...commands: BudgetCommand[]): BatchDecision {
    const decision = super.decide(...commands);
    const atMs = this.nowMs;
    const noted: { position: number; event: Recorded }[] = [];
    for (const reservation of decision.reservations) {
      const { decidedPosition, endedPosition, ...known } = reservation;
      this.reservations.set(known.operationId, known);
      const { operationId, request, grantedUsd, envelopeUsd = grantedUsd, returnedUsd, refusal, decidedWith } = known;
      if (!request) continue;
      const { requestedUsd: amountUsd, minimumUsd, userId, resource, labels, heldOn, parentId } = request;
      const of = { atMs, operationId, userId, resource, labels, heldOn };
      const apart = decidedWith?.isUnenforced ? 'limits did not bind' : undefined;
      if (decidedPosition !== undefined && refusal?.type !== 'rejected')
        noted.push({
          position: decidedPosition,
          event: {
            ...{ type: 'decided', ...of, parentId, amountUsd, minimumUsd },
            ...{ grantedUsd: envelopeUsd, decidedWith, apart },
          },
        });
      const line = decision.ledger.find((one) => one.operationId === operationId);
      if (endedPosition !== undefined && grantedUsd !== undefined)
        noted.push({
          position: endedPosition,
          event: {
            ...{ type: 'ended', ...of, grantedUsd, costUsd: line?.entry === 'commit' ? line.amountUsd : 0n },
            ...{ parentId, returnedUsd, isUnverified: known.settlement === 'unverified' },
          },
        });
      if (line?.entry === 'correction') {
        const { amountUsd: corrected, postedAtMs, position } = line;
        noted.push({ position, event: { type: 'corrected', ...of, amountUsd: corrected, postedAtMs } });
      }
    }
    noted.sort((one, other) => one.position - other.position);
    this.record.push(...noted.map(({ event }) => event));
    return decision;
  }
}

/** What a record comes to by limits. */
export function play(
  quotas: readonly Quota[],
  record: readonly Recorded[],
  tried: readonly TriedLimit[] = [],
): { player: WhatIf; found: Difference[] } {
  const player = new WhatIf(tried);
  player.begin(quotas, beganMs);
  return { player, found: record.flatMap((event) => player.play(event) ?? []) };
}

/** Limits as they stand where the record begins. */
export const begin = (...quotas: QuotaSpec[]): Quota[] => new BudgetModel(beganMs, quotas).quotas;
