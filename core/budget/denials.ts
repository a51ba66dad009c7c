/** What is said to whoever gets no money: by the authority when it decides, and by the gate before that. */
import type { BindingQuota } from './commands';
import { formatUsd, type Usd } from '../money';
import { quotaState, remainingUsd, type Standing } from './quotas';

/** What a payer is told that may not reserve for now. */
export const frozenMessage = (reason: string, what: string): string =>
  `The budget is frozen: ${reason}. ${what} An operator can unfreeze it.`;

/** A denial: the quota that bound, when to try again, and the same in words. */
export interface QuotaDenial {
  quota: BindingQuota;
  /** Absent where waiting cannot help. */
  retryAfterSeconds?: number;
  message: string;
}

/** Says that a quota has no room. */
export function quotaDenial({
  quota,
  amountUsd = 0n,
  minimumUsd,
  retryAfterSeconds,
  what,
}: {
  quota: Standing;
  /** What was asked for; absent, or nothing, when that is not known yet. */
  amountUsd?: Usd | undefined;
  minimumUsd?: Usd | undefined;
  retryAfterSeconds: number | undefined;
  /** What was not done, as a sentence. */
  what: string;
}): QuotaDenial {
  const binding: BindingQuota = { ...quotaState(quota), estimatedUsd: formatUsd(amountUsd) };
  const left = remainingUsd(quota) > 0n ? `$${binding.remainingUsd}` : 'nothing';
  const least = minimumUsd === undefined ? '' : ` (at least $${formatUsd(minimumUsd)})`;
  const asked = amountUsd === 0n ? '' : `; $${binding.estimatedUsd}${least} was asked for`;
  const reset = quota.period === 'lifetime' ? 'It never resets.' : `It resets at ${binding.resetsAt}.`;
  return {
    quota: binding,
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
    message:
      (quota.lease ? 'The platform has no more to lease to this tenant. ' : '') +
      `The ${binding.resourceType} quota of ${binding.scope} ${binding.scopeId} per ${binding.period} has ` +
      `${left} left of $${binding.limitUsd} ($${binding.spentUsd} spent, $${binding.reservedUsd} reserved)${asked}. ` +
      `${what} ${reset}`,
  };
}
