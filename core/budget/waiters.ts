/** Who of those that wait for money would get it now. */
import type { Usd } from '../money';
import { covers, type Payer, type Quota } from './quotas';

export interface Waiting extends Payer {
  /** The least that it can use. */
  neededUsd: Usd;
}

export interface QuotaRoom extends Pick<Quota, 'scope' | 'scopeId' | 'resourceType'> {
  headroomUsd: Usd;
}

/**
 * Those that fit together into what the quotas have left, in their order. One that does not fit does not hold up those
 * behind it that ask for less or of another quota. A lease of the platform's quota does not count: more may be drawn for it.
 */
export function whoFits<W extends Waiting>(quotas: readonly QuotaRoom[], waiters: readonly W[]): W[] {
  const room = quotas.filter(({ scope }) => scope !== 'platform').map((quota) => ({ ...quota }));
  return waiters.filter((waiter) => {
    const binding = room.filter((quota) => covers(quota, waiter));
    if (binding.some(({ headroomUsd }) => headroomUsd < waiter.neededUsd)) return false;
    for (const quota of binding) quota.headroomUsd -= waiter.neededUsd;
    return true;
  });
}
