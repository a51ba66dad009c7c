/** Who of those that wait for money would get it now. */
import type { Usd } from '../money';
import { covers, headroomUsd, type Payer, type Standing } from './quotas';

export interface MoneyWaiter extends Payer {
  /** The least that it can use. */
  neededUsd: Usd;
  /** Whether it was woken a while ago and did not ask: then nothing is kept for it, and those behind it get what there is. */
  isSilent?: boolean;
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
    if (!waiter.isSilent) for (const quota of binding) quota.reservedUsd += waiter.neededUsd;
    return true;
  });
}
