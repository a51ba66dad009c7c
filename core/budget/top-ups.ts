/**
 * Money beside a limit, once. The limit itself is spent first, then what is spent or held of top-ups that have expired, then the others, the
 * first to expire first; one that expires with its period comes before those that outlive it. A top-up that expires takes what is unused of
 * it; what is held of it then stays for as long as it is held, and nobody else gets it. What is left of one that outlives its period goes on
 * into the next. `topups_at`, in migrations/functions, is the same rule for rows.
 */
import { parseUsd, sumUsd, type Usd } from '../money';
import { periodAt, type Period } from './periods';

/** What is left of a top-up that expires by itself. */
export interface ExpiringTopUp {
  amountUsd: Usd;
  expiresAtMs: number;
}

/** What a limit is topped up by now. */
export interface TopUps {
  /** What expires with the period. */
  untilPeriodEndUsd: Usd;
  /** What is spent or held of those that have expired in this period. */
  keptUsd: Usd;
  /** The first to expire first. */
  expiring: readonly ExpiringTopUp[];
}

/** The same as rows and messages have it: in all, and what of it is not until the period ends. */
export interface StoredTopUps {
  topupUsd: string;
  keptUsd?: string | null | undefined;
  expiring?: readonly { amountUsd: string; expiresAt: string }[] | null | undefined;
}

/** Undefined where there is none. */
export function topUpsOf({ topupUsd, keptUsd, expiring }: StoredTopUps): TopUps | undefined {
  const totalUsd = parseUsd(topupUsd);
  if (totalUsd === 0n) return undefined;
  const known = {
    keptUsd: parseUsd(keptUsd ?? '0'),
    expiring: (expiring ?? []).map(({ amountUsd, expiresAt }) => ({
      amountUsd: parseUsd(amountUsd),
      expiresAtMs: Date.parse(expiresAt),
    })),
  };
  return { ...known, untilPeriodEndUsd: totalUsd - totalOf({ ...known, untilPeriodEndUsd: 0n }) };
}

export const totalOf = (topUps: TopUps | undefined): Usd =>
  topUps === undefined
    ? 0n
    : topUps.untilPeriodEndUsd + topUps.keptUsd + sumUsd(topUps.expiring.map(({ amountUsd }) => amountUsd));

/** What a limit is made of, and what is taken of it. */
interface ToppedUp {
  period: Period;
  periodEndMs: number;
  /** With its top-ups. */
  limitUsd: Usd;
  spentUsd: Usd;
  reservedUsd: Usd;
  topUps?: TopUps | undefined;
}

const least = (a: Usd, b: Usd): Usd => (a < b ? a : b);
const notBelowZero = (a: Usd): Usd => (a > 0n ? a : 0n);

/** How a quota stands at a later moment, if nothing is decided until then: spend starts anew with a period, open reservations carry over. */
export function standsAt<Q extends ToppedUp>(quota: Q, nowMs: number): Q {
  const isOver = nowMs >= quota.periodEndMs;
  const hasExpired = (quota.topUps?.expiring[0]?.expiresAtMs ?? Infinity) <= nowMs;
  if (!isOver && !hasExpired) return quota;
  const topUps = topUpsAt(quota, nowMs);
  const later = { ...quota, topUps, limitUsd: quota.limitUsd - totalOf(quota.topUps) + totalOf(topUps) };
  return isOver ? { ...later, spentUsd: 0n, periodEndMs: periodAt(quota.period, nowMs).end.getTime() } : later;
}

function topUpsAt(quota: ToppedUp, nowMs: number): TopUps | undefined {
  if (!quota.topUps) return undefined;
  const { period, periodEndMs, reservedUsd, topUps } = quota;
  const baseUsd = quota.limitUsd - totalOf(topUps);
  const isOver = nowMs >= periodEndMs;
  const startMs = isOver ? periodAt(period, nowMs).start.getTime() : -Infinity;
  let { spentUsd } = quota;
  let now: TopUps = { ...topUps, expiring: [] };
  /** What those that outlive the period have paid of what was spent in it. */
  let paidUsd: Usd | undefined;
  for (const { amountUsd, expiresAtMs } of topUps.expiring) {
    if (isOver && paidUsd === undefined && expiresAtMs > periodEndMs) {
      paidUsd = notBelowZero(spentUsd - baseUsd - now.keptUsd - now.untilPeriodEndUsd);
      spentUsd = 0n;
      now = { untilPeriodEndUsd: 0n, keptUsd: 0n, expiring: [] };
    }
    const leftUsd = notBelowZero(amountUsd - (paidUsd ?? 0n));
    if (paidUsd !== undefined) paidUsd = notBelowZero(paidUsd - amountUsd);
    if (expiresAtMs > nowMs) {
      if (leftUsd > 0n) now.expiring = [...now.expiring, { amountUsd: leftUsd, expiresAtMs }];
    } else if (paidUsd === undefined || expiresAtMs > startMs) {
      now.keptUsd += least(leftUsd, notBelowZero(spentUsd + reservedUsd - baseUsd - now.keptUsd));
    }
  }
  if (isOver && paidUsd === undefined) return undefined;
  return totalOf(now) === 0n ? undefined : now;
}

/** What there would be if all that is held came back unused: what is held of top-ups that have expired goes with that. */
export function leftWithoutHolds({ limitUsd, spentUsd, topUps }: Omit<ToppedUp, 'period' | 'periodEndMs'>): Usd {
  const unheld = { limitUsd, spentUsd, reservedUsd: 0n, topUps };
  takeBack(unheld);
  return unheld.limitUsd - spentUsd;
}

/** Takes from a limit what came back of top-ups that have expired: whoever held it had it longer, and nobody else gets it. */
export function takeBack(quota: Omit<ToppedUp, 'period' | 'periodEndMs'>): void {
  const { topUps, limitUsd, spentUsd, reservedUsd } = quota;
  if (!topUps || topUps.keptUsd === 0n) return;
  const keptUsd = least(topUps.keptUsd, notBelowZero(spentUsd + reservedUsd - limitUsd + totalOf(topUps)));
  quota.limitUsd = limitUsd - topUps.keptUsd + keptUsd;
  quota.topUps = { ...topUps, keptUsd };
}
