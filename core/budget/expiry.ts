/** How long a reservation may last, and when a top-up may expire by itself. */
import { dayMs } from './periods';

const expiryDaysMax = 366;

/** Why a top-up cannot expire at that moment; undefined where it can. */
export function problemOfExpiry(expiresAt: string, nowMs: number): string | undefined {
  const atMs = Date.parse(expiresAt);
  return atMs > nowMs && atMs <= nowMs + expiryDaysMax * dayMs
    ? undefined
    : `must be later than now, and at most ${expiryDaysMax} days`;
}

/** The longest that one reservation may hold money without being extended: a week. */
export const ttlSecondsMax = 7 * 24 * 3600;
