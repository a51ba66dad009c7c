/**
 * When a denied request would fit, if nothing else were asked for: money comes back when a hold runs out unused, when a call under
 * way ends and when a period does.
 */
import type { Usd } from '../money';
import { calculateRetryAfter, periodAt, secondsUntil } from './periods';
import { isReleasedByExpiry, type Reservation } from './reservations';
import { covers, headroomUsd, type Payer, type Standing } from './quotas';
import { standsAt, takeBack } from './top-ups';

/** An open reservation that its expiry releases. */
export interface Hold extends Payer {
  operationId: string;
  grantedUsd: Usd;
  expiresAtMs: number;
}

/** Nobody can tell when a call under way ends and gives back what it did not need: in seconds as a rule. */
export const heldSeconds = 10;

/** Of some reservations those that are such holds. */
export function heldIn(reservations: Iterable<Reservation>): Hold[] {
  return [...reservations].flatMap(({ operationId, request, status, claimed, grantedUsd, expiresAtMs }) => {
    if (status !== 'granted' || !request || grantedUsd === undefined || expiresAtMs === undefined) return [];
    const { userId, resource, labels, heldOn } = request;
    return isReleasedByExpiry({ request, claimed })
      ? [{ userId, resource, labels, heldOn, operationId, grantedUsd, expiresAtMs }]
      : [];
  });
}

/** What is asked for, of which quotas, and what may come back to them. */
export interface Wait {
  quotas: readonly Standing[];
  holds: readonly Hold[];
  neededUsd: Usd;
  nowMs: number;
}

/**
 * Seconds until `neededUsd` fits every one of the quotas: the smallest of the period's end, the expiry of the holds that make room, and
 * `heldSeconds` where calls under way hold what is missing. Rounded up, at least 1. Undefined where waiting cannot help: for more than a
 * limit, or where a lifetime's is spent.
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

function secondsUntilFits(quota: Standing, { holds, neededUsd, nowMs }: Wait): number | undefined {
  if (headroomUsd(quota) >= neededUsd) return 0;
  if (neededUsd > (quota.lease?.platformLimitUsd ?? quota.limitUsd)) return undefined;
  const { period } = quota;
  const resetMs = period === 'lifetime' ? undefined : periodAt(period, nowMs).end.getTime();
  const frees = holds
    .filter((hold) => covers(quota, hold))
    .map((hold) => ({ atMs: hold.expiresAtMs, usd: hold.grantedUsd }));
  const heldByCallsUsd = frees.reduce((left, { usd }) => left - usd, quota.reservedUsd);
  if (heldByCallsUsd > 0n) frees.push({ atMs: nowMs + heldSeconds * 1_000, usd: heldByCallsUsd });
  if (resetMs !== undefined) frees.push({ atMs: resetMs, usd: 0n });
  // Some tenant's hold may end then: what it frees is not this tenant's to know, and may be enough.
  if (quota.lease?.freesAtMs !== undefined) frees.push({ atMs: quota.lease.freesAtMs, usd: neededUsd });
  frees.sort((a, b) => a.atMs - b.atMs);
  let later: Standing = { ...quota, periodEndMs: resetMs ?? quota.periodEndMs };
  for (const { atMs, usd } of frees) {
    // What it is topped up by may have expired by then.
    later = { ...standsAt(later, atMs) };
    later.reservedUsd -= usd;
    takeBack(later);
    if (headroomUsd(later) >= neededUsd) return secondsUntil(atMs, nowMs);
  }
  // With the period may go what it would need.
  const { limitUsd } = standsAt({ ...quota, periodEndMs: resetMs ?? quota.periodEndMs }, resetMs ?? nowMs);
  const mayFit = quota.lease !== undefined || neededUsd <= limitUsd;
  return mayFit ? calculateRetryAfter(period, nowMs) : undefined;
}
