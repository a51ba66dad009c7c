/**
 * Where a quota's spend is heading: as it has grown since its period began, so it goes on. A plain straight line, since it is to
 * be understood at a glance; it says nothing in a period's first hour, which tells too little. What is unused of a top-up as it expires is
 * not there to be spent after that.
 */
import type { Usd } from '../money';
import type { Period } from './periods';
import { standsAt, type TopUps } from './top-ups';

/** A quota in its period; times in milliseconds since the epoch. */
export interface SpendSoFar {
  /** Top-ups included. */
  limitUsd: Usd;
  topUps?: TopUps | undefined;
  spentUsd: Usd;
  period: Period;
  /** Or when spending could begin, where that was later. */
  periodStartMs: number;
  periodEndMs: number;
}

export interface Forecast {
  /** What will be spent by the period's end. */
  projectedUsd: Usd;
  /** When the limit is reached, as it is by then, if that is before the period's end. */
  exhaustedAtMs?: number;
}

const tooEarlyMs = 3_600_000;

/** Undefined when too little of the period is over, or all of it. Amounts round down to a whole pico-dollar. */
export function forecast(quota: SpendSoFar, nowMs: number): Forecast | undefined {
  const { spentUsd, periodStartMs, periodEndMs, topUps } = quota;
  const elapsedMs = nowMs - periodStartMs;
  if (elapsedMs < tooEarlyMs || nowMs >= periodEndMs) return undefined;
  const spentAt = (ms: number): Usd => (spentUsd * BigInt(ms - periodStartMs)) / BigInt(elapsedMs);
  const projectedUsd = spentAt(periodEndMs);
  if (spentUsd === 0n) return { projectedUsd };
  const expiries = (topUps?.expiring ?? []).map(({ expiresAtMs }) => expiresAtMs).filter((ms) => ms < periodEndMs);
  let stands = { ...quota, reservedUsd: 0n };
  let fromMs = nowMs;
  for (const untilMs of [...expiries, periodEndMs]) {
    if (spentAt(untilMs) > stands.limitUsd) {
      const reachedMs = periodStartMs + Number((stands.limitUsd * BigInt(elapsedMs)) / spentUsd);
      return { projectedUsd, exhaustedAtMs: Math.max(fromMs, reachedMs) };
    }
    stands = standsAt({ ...stands, spentUsd: spentAt(untilMs) }, untilMs);
    fromMs = Math.max(fromMs, untilMs);
  }
  return { projectedUsd };
}
