/**
 * When a denied request would fit, if nothing else were asked for: money comes back when a hold runs out unused and when a
 * period ends.
 */
import type { Usd } from '../money';
import { calculateRetryAfter, secondsUntil } from './periods';
import { covers, headroomUsd, type Payer, type Standing } from './quotas';

/** An open reservation that its expiry releases. */
export interface Hold extends Payer {
  operationId: string;
  grantedUsd: Usd;
  expiresAtMs: number;
}

/** What is asked for, of which quotas, and what may come back to them. */
export interface Wait {
  quotas: readonly Standing[];
  holds: readonly Hold[];
  /** Undefined when it is not known yet: then some money has to be left. */
  neededUsd: Usd | undefined;
  nowMs: number;
}

/**
 * Seconds until `neededUsd` fits every one of the quotas: the smaller of the period's end and the expiry of the holds
 * that make room. Rounded up, at least 1. Undefined where waiting cannot help: more than a limit, or a lifetime's.
 * Whoever denies says this, the gate and the authority alike.
 */
export function retryAfterSeconds(wait: Wait): number | undefined {
  let longest = 1;
  for (const quota of wait.quotas) {
    const seconds = secondsUntilFits(quota, wait);
    if (seconds === undefined) return undefined;
    longest = Math.max(longest, seconds);
  }
  return longest;
}

/** Whether what is needed can be taken of so much. */
export const fits = (headroom: Usd, neededUsd: Usd | undefined): boolean =>
  neededUsd === undefined ? headroom > 0n : headroom >= neededUsd;

function secondsUntilFits(quota: Standing, { holds, neededUsd, nowMs }: Wait): number | undefined {
  let headroom = headroomUsd(quota);
  if (fits(headroom, neededUsd)) return 0;
  if (neededUsd !== undefined && neededUsd > (quota.lease?.platformLimitUsd ?? quota.limitUsd)) return undefined;
  const resetSeconds = calculateRetryAfter(quota.period, nowMs);
  const frees = holds
    .filter((hold) => covers(quota, hold))
    .map((hold) => ({ seconds: secondsUntil(hold.expiresAtMs, nowMs), usd: hold.grantedUsd }));
  if (resetSeconds !== undefined) frees.push({ seconds: resetSeconds, usd: quota.spentUsd });
  if (quota.lease?.freesAtMs !== undefined) {
    // Some tenant's hold may end then: what it frees is not this tenant's to know, and may be enough.
    frees.push({ seconds: secondsUntil(quota.lease.freesAtMs, nowMs), usd: neededUsd ?? 1n });
  }
  frees.sort((a, b) => a.seconds - b.seconds);
  for (const { seconds, usd } of frees) {
    headroom += usd;
    if (fits(headroom, neededUsd)) return seconds;
  }
  // What is left is held by calls under way: they end, nobody can say when.
  return resetSeconds;
}
