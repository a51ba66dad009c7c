/**
 * When a denied request would fit, if nothing else were asked for: money comes back when a hold runs out unused and when a
 * period ends.
 */
import type { Resource } from './commands';
import type { Usd } from '../money';
import { calculateRetryAfter } from './periods';
import { covers, headroomUsd, type Quota } from './quotas';

/** An open reservation that its expiry releases. */
export interface Hold {
  operationId: string;
  userId?: string | undefined;
  resource: Resource;
  grantedUsd: Usd;
  expiresAtMs: number;
}

/**
 * Seconds until `neededUsd` fits every one of the quotas: the smaller of the period's end and the expiry of the holds
 * that make room. Rounded up, at least 1. Undefined where waiting cannot help: more than a limit, or a lifetime's.
 */
export function retryAfterSeconds(asked: {
  quotas: readonly Quota[];
  holds: readonly Hold[];
  neededUsd: Usd;
  nowMs: number;
}): number | undefined {
  let longest = 1;
  for (const quota of asked.quotas) {
    const seconds = secondsUntilFits(quota, asked);
    if (seconds === undefined) return undefined;
    longest = Math.max(longest, seconds);
  }
  return longest;
}

function secondsUntilFits(
  quota: Quota,
  { holds, neededUsd, nowMs }: { holds: readonly Hold[]; neededUsd: Usd; nowMs: number },
): number | undefined {
  let headroom = headroomUsd(quota);
  if (headroom >= neededUsd) return 0;
  if (neededUsd > (quota.lease?.platformLimitUsd ?? quota.limitUsd)) return undefined;
  const resetSeconds = calculateRetryAfter(quota.period, nowMs);
  const frees = holds
    .filter((hold) => covers(quota, hold))
    .map((hold) => ({ seconds: Math.max(1, Math.ceil((hold.expiresAtMs - nowMs) / 1000)), usd: hold.grantedUsd }));
  if (resetSeconds !== undefined) frees.push({ seconds: resetSeconds, usd: quota.spentUsd });
  if (quota.lease?.freesAtMs !== undefined) {
    // Some tenant's hold may end then: what it frees is not this tenant's to know, and may be enough.
    frees.push({ seconds: Math.max(1, Math.ceil((quota.lease.freesAtMs - nowMs) / 1000)), usd: neededUsd });
  }
  frees.sort((a, b) => a.seconds - b.seconds);
  for (const { seconds, usd } of frees) {
    headroom += usd;
    if (headroom >= neededUsd) return seconds;
  }
  // What is left is held by calls under way: they end, nobody can say when.
  return resetSeconds;
}
