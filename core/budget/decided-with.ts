/** What a decision went by that neither its row nor the limits tell: with it the same can be decided once more (core/budget/what-if.ts). */
import type { Usd } from '../money';
import type { Ask, Place } from './line';
import { covers, headroomUsd, type Payer, type Quota } from './quotas';

/** What a decision by the tenant's limits went by that its row and the limits do not tell; each only where it says something. */
export interface DecidedWith {
  prefersWhole?: true;
  /** The most that it could get: what the limits of its run left, or the platform, which had no more. */
  mostUsd?: Usd;
  /** What was kept from it for those that wait. */
  kept?: readonly (Payer & { keptUsd: Usd })[];
  /** Limits did not bind. */
  isUnenforced?: true;
}

/** Undefined where a decision goes by nothing else than the limits and its request. */
export function decidedWithOf(
  { prefersWhole }: Pick<Ask, 'prefersWhole'>,
  decided: { quotas: readonly Quota[]; amountUsd: Usd; mostUsd: Usd; kept: readonly Place[]; isEnforced: boolean },
): DecidedWith | undefined {
  const { quotas, amountUsd, isEnforced } = decided;
  const leases = quotas.filter(({ lease }) => lease);
  // Of a platform that has more, more would have been drawn.
  const most = leases.some(({ lease }) => lease?.exhausted) ? leases.map(headroomUsd) : [];
  const mostUsd = [decided.mostUsd, ...most].reduce((a, b) => (b < a ? b : a));
  const kept = decided.kept
    .filter((place) => quotas.some((quota) => covers(quota, place)))
    .map(({ userId, resource, labels, keptUsd }) => ({ userId, resource, labels, keptUsd }));
  const all: DecidedWith = {
    ...(prefersWhole ? { prefersWhole } : {}),
    ...(mostUsd < amountUsd ? { mostUsd } : {}),
    ...(kept.length > 0 ? { kept } : {}),
    ...(isEnforced ? {} : { isUnenforced: true }),
  };
  return Object.keys(all).length > 0 ? all : undefined;
}
