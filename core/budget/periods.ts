/**
 * How long a quota's limit holds before its spend starts at zero. Periods are calendar periods in UTC; a `lifetime` never
 * ends.
 */
export type Period = 'day' | 'week' | 'month' | 'lifetime';

/** A lifetime's bounds: moments that every clock of the installation lies between. */
const lifetime = { start: new Date(0), end: new Date('9999-12-31T00:00:00Z') };

/** The first moment of a period, and of the next one. */
export interface PeriodBounds {
  start: Date;
  end: Date;
}

export const dayMs = 86_400_000;
const secondMs = 1000;

/** The calendar moves whole days in UTC: there is no daylight saving there, so a day is always 24 hours. */
function midnight({ year, month, day }: { year: number; month: number; day: number }): Date {
  const date = new Date(0);
  // `Date.UTC` would read a year below 100 as one of the 20th century.
  date.setUTCFullYear(year, month, day);
  return date;
}

/**
 * The period that a moment falls in: from midnight UTC to midnight UTC, weeks from Monday, months from the first.
 * The start belongs to the period, the end to the next one.
 * @param at a Date, or milliseconds since 1970-01-01 UTC.
 * @throws RangeError when `at` is no moment.
 */
export function periodAt(period: Period, at: Date | number): PeriodBounds {
  const moment = new Date(at);
  if (Number.isNaN(moment.getTime())) throw new RangeError('A period is looked up for a valid moment.');
  const year = moment.getUTCFullYear();
  const month = moment.getUTCMonth();
  const day = moment.getUTCDate();
  switch (period) {
    case 'day': {
      const start = midnight({ year, month, day });
      return { start, end: new Date(start.getTime() + dayMs) };
    }
    case 'week': {
      const daysSinceMonday = (moment.getUTCDay() + 6) % 7;
      const start = midnight({ year, month, day: day - daysSinceMonday });
      return { start, end: new Date(start.getTime() + 7 * dayMs) };
    }
    case 'month':
      return { start: midnight({ year, month, day: 1 }), end: midnight({ year, month: month + 1, day: 1 }) };
    case 'lifetime':
      return lifetime;
    default:
      throw new RangeError(`"${String(period)}" is no period; a quota's period is day, week, month or lifetime.`);
  }
}

/**
 * Seconds until the next period begins (requirement C4): next midnight, next Monday, or the first of next month, UTC.
 * Rounded up, so that who waits that long is in it; at least 1. Undefined for a lifetime: waiting does not help.
 */
export function calculateRetryAfter(period: 'day' | 'week' | 'month', nowMs: number): number;
export function calculateRetryAfter(period: Period, nowMs: number): number | undefined;
export function calculateRetryAfter(period: Period, nowMs: number): number | undefined {
  if (period === 'lifetime') return undefined;
  return secondsUntil(periodAt(period, nowMs).end.getTime(), nowMs);
}

/** Whole seconds until a moment, at least 1: whoever waits that long is past it. */
export const secondsUntil = (atMs: number, nowMs: number): number => Math.max(1, Math.ceil((atMs - nowMs) / secondMs));
