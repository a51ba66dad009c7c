/** Who of those that wait for money would get it now. */
import type { Usd } from '../money';
import { covers, headroomUsd, type Payer, type Standing } from './quotas';

export interface MoneyWaiter extends Payer {
  /** The least that it can use. */
  neededUsd: Usd;
}

/**
 * Those that fit together into what the quotas have left, in their order. One that does not fit does not hold up those
 * behind it that ask for less or of another quota. A lease of the platform's quota does not count: more may be drawn for it.
 */
export function whoFits<W extends MoneyWaiter>(quotas: readonly Standing[], waiters: readonly W[]): W[] {
  const own = quotas.filter(({ scope }) => scope !== 'platform').map((quota) => ({ ...quota }));
  return waiters.filter((waiter) => {
    const binding = own.filter((quota) => covers(quota, waiter));
    if (binding.some((quota) => headroomUsd(quota) < waiter.neededUsd)) return false;
    for (const quota of binding) quota.reservedUsd += waiter.neededUsd;
    return true;
  });
}
