/** What a denied step asks people for, and how an answer to that may read. */
import { PICO_PER_USD, type Usd } from '../money';
import { headroomUsd, type Balance } from './quotas';

/** How long an answer is waited for at most, in days. */
export const askDaysMax = 30;

/** A workflow asks so often in 24 hours at most. Whoever grants less than it needs is asked again, and one who forgets to look is not flooded. */
export const requestsPerDayMax = 20;

const centUsd: Usd = PICO_PER_USD / 100n;

/** What a step's limits lack. Both are at least 0. */
export interface Lack {
  /** For the least that the step can use. */
  lacksUsd: Usd;
  /** What is asked for: room for all of the step and for one more like it, in whole cents, since what is granted is seldom the last that is needed. */
  askedUsd: Usd;
}

/** What a step lacks that its limits have so much left for; negative where they are overdrawn. */
export function lackOf(leftUsd: Usd, { amountUsd, leastUsd }: { amountUsd: Usd; leastUsd: Usd }): Lack {
  const atLeast = (usd: Usd, least: Usd): Usd => (usd > least ? usd : least);
  const roundedUsd = ((2n * amountUsd - leftUsd + centUsd - 1n) / centUsd) * centUsd;
  return { lacksUsd: atLeast(leastUsd - leftUsd, 0n), askedUsd: atLeast(roundedUsd, centUsd) };
}

/** What fits all of these limits, of which there is one at least. */
export const leftOfAll = (limits: readonly Balance[]): Usd =>
  limits.map(headroomUsd).reduce((least, usd) => (usd < least ? usd : least));

/**
 * By how much each limit is lifted so that `grantedUsd` more fits them all: those that then would stand in the way, no further than that. A tenant
 * with a limit of all and one of models is asked once, and what it may spend grows by what was granted.
 */
export function liftsFor<Q extends Balance>(limits: readonly Q[], grantedUsd: Usd): { limit: Q; byUsd: Usd }[] {
  if (limits.length === 0) return [];
  const roomUsd = leftOfAll(limits) + grantedUsd;
  return limits.flatMap((limit) => {
    const byUsd = roomUsd - headroomUsd(limit);
    return byUsd > 0n ? [{ limit, byUsd }] : [];
  });
}

/** How a request for money ended. */
export interface MoneyAnswer {
  status: 'granted' | 'refused' | 'withdrawn' | 'expired';
  /** Decimal string. */
  grantedUsd: string | null;
  reason: string | null;
  decidedBy: string | null;
}

/** The same in words, as a sentence. */
export function answerInWords({ status, grantedUsd, reason, decidedBy }: MoneyAnswer): string {
  const who = decidedBy ?? 'Somebody';
  const why = reason === null ? '' : `: ${reason}`;
  switch (status) {
    case 'granted':
      return `${who} granted $${grantedUsd}${why}.`;
    case 'refused':
      return `${who} refused${why}.`;
    case 'expired':
      return 'Nobody answered in time.';
    case 'withdrawn':
      return 'Nobody waits for an answer any more: it got its money otherwise, was cancelled, or ended.';
  }
}
