/**
 * Where a quota's spend is heading: as it has grown since its period began, so it goes on. A plain straight line, since it is to
 * be understood at a glance; it says nothing in a period's first hour, which tells too little.
 */
import type { Usd } from '../money';

/** A quota in its period; times in milliseconds since the epoch. */
export interface SpendSoFar {
  /** Top-ups included. */
  limitUsd: Usd;
  spentUsd: Usd;
  /** Or when spending could begin, where that was later. */
  periodStartMs: number;
  periodEndMs: number;
}

export interface Forecast {
  /** What will be spent by the period's end. */
  projectedUsd: Usd;
  /** When the limit is reached, if that is before the period's end. */
  exhaustedAtMs?: number;
}

const tooEarlyMs = 3_600_000;

/** Undefined when too little of the period is over, or all of it. Amounts round down to a whole pico-dollar. */
export function forecast(
  { limitUsd, spentUsd, periodStartMs, periodEndMs }: SpendSoFar,
  nowMs: number,
): Forecast | undefined {
  const elapsedMs = nowMs - periodStartMs;
  if (elapsedMs < tooEarlyMs || nowMs >= periodEndMs) return undefined;
  const projectedUsd = (spentUsd * BigInt(periodEndMs - periodStartMs)) / BigInt(elapsedMs);
  if (projectedUsd <= limitUsd || spentUsd === 0n) return { projectedUsd };
  const reachedMs = periodStartMs + Number((limitUsd * BigInt(elapsedMs)) / spentUsd);
  return { projectedUsd, exhaustedAtMs: Math.max(nowMs, reachedMs) };
}
