/** What a decision went by that neither its row nor the limits tell: with it the same can be decided once more (core/budget/what-if.ts). */
import type { Resource } from './commands';
import type { Usd } from '../money';
import type { Ask, Place } from './line';
import { covers, headroomUsd, type Payer, type Quota } from './quotas';

/** What a decision by the tenant's limits went by that its row and the limits do not tell; each only where it says something. */
export interface DecidedWith {
  prefersWhole?: true;
  /** The most that it could get: what the limits of its run left, or the platform, which had no more. */
  mostUsd?: Usd;
  /** What was kept from it for those that wait, summed up by which of the limits that cover it cover them too. */
  kept?: readonly (Payer & { keptUsd: Usd })[];
  /** Limits did not bind. */
  isUnenforced?: true;
  /** Of an envelope: those of its resources whose limits bound, where others' did not. */
  boundOn?: readonly Resource[];
}

/** Undefined where a decision goes by nothing else than the limits and its request. */
export function decidedWithOf(
  { prefersWhole }: Pick<Ask, 'prefersWhole'>,
  decided: {
    payer: Payer;
    quotas: readonly Quota[];
    amountUsd: Usd;
    mostUsd: Usd;
    kept: readonly Place[];
    isEnforced: (resource: Resource) => boolean;
  },
): DecidedWith | undefined {
  const { payer, quotas, amountUsd, isEnforced } = decided;
  const leases = quotas.filter(({ lease }) => lease);
  // Of a platform that has more, more would have been drawn.
  const most = leases.some(({ lease }) => lease?.exhausted) ? leases.map(headroomUsd) : [];
  const mostUsd = [decided.mostUsd, ...most].reduce((a, b) => (b < a ? b : a));
  const kept = keptOf(
    payer,
    quotas,
    decided.kept.filter((place) => quotas.some((quota) => covers(quota, place))),
  );
  const resources = payer.heldOn ?? [payer.resource];
  const boundOn = resources.filter(isEnforced);
  const all: DecidedWith = {
    ...(prefersWhole ? { prefersWhole } : {}),
    ...(mostUsd < amountUsd ? { mostUsd } : {}),
    ...(kept.length > 0 ? { kept } : {}),
    ...(boundOn.length > 0 ? {} : { isUnenforced: true }),
    ...(boundOn.length > 0 && boundOn.length < resources.length ? { boundOn } : {}),
  };
  return Object.keys(all).length > 0 ? all : undefined;
}

/**
 * What was kept, of however many that wait in few entries: a limit that covers a request tells those that wait apart only by whether they
 * have its user and resource, and of its labels those that the limit counts together.
 */
function keptOf(payer: Payer, quotas: readonly Quota[], places: readonly Place[]): NonNullable<DecidedWith['kept']> {
  const ofPayer = Object.entries(payer.labels ?? {});
  const sums = new Map<string, Payer & { keptUsd: Usd }>();
  for (const place of places) {
    const userId = place.userId === payer.userId ? payer.userId : undefined;
    const labels = ofPayer.filter(([key, value]) => sharesLabel({ key, value }, place, quotas));
    // What is held on several resources tells each of them apart.
    const of = payer.heldOn ? place.resource : place.resource === payer.resource;
    const key = [userId !== undefined, of, ...labels.map(([name]) => name)].join(':');
    const sum = sums.get(key);
    if (sum) sum.keptUsd += place.keptUsd;
    else
      sums.set(key, {
        ...(userId === undefined ? {} : { userId }),
        resource: place.resource,
        ...(labels.length > 0 ? { labels: Object.fromEntries(labels) } : {}),
        keptUsd: place.keptUsd,
      });
  }
  return [...sums.values()];
}

/** Whether a place has a label of a request, or another value that a limit counts together with it. */
function sharesLabel({ key, value }: { key: string; value: string }, place: Place, quotas: readonly Quota[]): boolean {
  const has = place.labels?.[key];
  return (
    has === value ||
    (has !== undefined &&
      quotas.some(
        (quota) =>
          quota.scope === 'label' && [has, value].every((one) => covers(quota, { ...place, labels: { [key]: one } })),
      ))
  );
}
