import fc from 'fast-check';
import { calculateRetryAfter, periodAt, type Period } from '../../../core/budget/periods';

const at = (iso: string): number => Date.parse(iso);
const bounds = (period: Period, iso: string): [string, string] => {
  const { start, end } = periodAt(period, at(iso));
  return [start.toISOString(), end.toISOString()];
};
const midnight = (day: string): string => `${day}T00:00:00.000Z`;

describe('the period of a moment', () => {
  it.each<[Period, string, string, string]>([
    ['day', '2026-01-04T12:34:56.789Z', '2026-01-04', '2026-01-05'],
    ['day', '2026-12-31T23:59:59.999Z', '2026-12-31', '2027-01-01'],
    ['day', '2028-02-28T05:00:00Z', '2028-02-28', '2028-02-29'],
    ['day', '2027-02-28T05:00:00Z', '2027-02-28', '2027-03-01'],
    // 2026-01-04 is a Sunday, 2026-01-05 a Monday.
    ['week', '2026-01-04T23:59:59.999Z', '2025-12-29', '2026-01-05'],
    ['week', '2026-01-05T00:00:00.000Z', '2026-01-05', '2026-01-12'],
    ['week', '2028-02-29T08:00:00Z', '2028-02-28', '2028-03-06'],
    ['week', '2026-12-31T08:00:00Z', '2026-12-28', '2027-01-04'],
    ['month', '2026-01-31T17:45:00Z', '2026-01-01', '2026-02-01'],
    ['month', '2026-02-01T00:00:00.000Z', '2026-02-01', '2026-03-01'],
    ['month', '2028-02-29T12:00:00Z', '2028-02-01', '2028-03-01'],
    ['month', '2026-04-30T23:59:59.999Z', '2026-04-01', '2026-05-01'],
    ['month', '2026-12-15T00:00:00Z', '2026-12-01', '2027-01-01'],
    // Days on which clocks change in Europe and America are as long as others in UTC.
    ['day', '2026-03-29T02:30:00Z', '2026-03-29', '2026-03-30'],
    ['week', '2026-11-01T06:30:00Z', '2026-10-26', '2026-11-02'],
  ])('is, for a %s and %s, from %s to %s', (period, moment, start, end) => {
    expect(bounds(period, moment)).toEqual([midnight(start), midnight(end)]);
  });

  it('counts the first moment of a period to it, and the last one too', () => {
    for (const period of ['day', 'week', 'month'] as const) {
      const { start, end } = periodAt(period, at('2026-05-13T10:00:00Z'));
      expect(periodAt(period, start)).toEqual({ start, end });
      expect(periodAt(period, end.getTime() - 1)).toEqual({ start, end });
      expect(periodAt(period, end).start).toEqual(end);
    }
  });

  it('resets a quota made on January 31 on the first of each month', () => {
    const starts: string[] = [];
    let moment: Date | number = at('2026-01-31T09:30:00Z');
    for (let month = 0; month < 14; month += 1) {
      const { start, end } = periodAt('month', moment);
      starts.push(start.toISOString().slice(0, 10));
      moment = end;
    }
    expect(starts).toEqual([
      '2026-01-01',
      '2026-02-01',
      '2026-03-01',
      '2026-04-01',
      '2026-05-01',
      '2026-06-01',
      '2026-07-01',
      '2026-08-01',
      '2026-09-01',
      '2026-10-01',
      '2026-11-01',
      '2026-12-01',
      '2027-01-01',
      '2027-02-01',
    ]);
  });

  it('holds the moment and starts at midnight UTC, whatever the moment', () => {
    const moment = fc.date({
      min: new Date('0050-01-01T00:00:00Z'),
      max: new Date('9999-01-01T00:00:00Z'),
      noInvalidDate: true,
    });
    fc.assert(
      fc.property(moment, fc.constantFrom<Period>('day', 'week', 'month'), (date, period) => {
        const { start, end } = periodAt(period, date);
        expect(start.getTime()).toBeLessThanOrEqual(date.getTime());
        expect(end.getTime()).toBeGreaterThan(date.getTime());
        expect(Math.abs(start.getTime() % 86_400_000)).toBe(0);
        if (period === 'week') expect(start.getUTCDay()).toBe(1);
        if (period === 'month') expect([start.getUTCDate(), end.getUTCDate()]).toEqual([1, 1]);
      }),
    );
  });

  it('refuses a moment that is none, and a period that is none', () => {
    expect(() => periodAt('day', Number.NaN)).toThrow(RangeError);
    expect(() => periodAt('year' as Period, 0)).toThrow(/day, week, month or lifetime/);
  });
});

describe('the seconds until the next period', () => {
  it.each<[Period, string, number]>([
    ['day', '2026-01-04T00:00:00.000Z', 86_400],
    ['day', '2026-01-04T23:59:59.000Z', 1],
    ['day', '2026-01-04T23:59:58.999Z', 2],
    ['day', '2026-01-04T23:59:59.999Z', 1],
    ['week', '2026-01-04T23:00:00.000Z', 3_600],
    ['week', '2026-01-05T00:00:00.000Z', 604_800],
    ['month', '2026-02-01T00:00:00.000Z', 28 * 86_400],
    ['month', '2028-02-01T00:00:00.000Z', 29 * 86_400],
    ['month', '2026-12-31T12:00:00.000Z', 43_200],
  ])('are, for a %s at %s, %i', (period, moment, seconds) => {
    expect(calculateRetryAfter(period, at(moment))).toBe(seconds);
  });

  it('are enough to be in the next period, and never less than one', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 4e12 }),
        fc.constantFrom('day' as const, 'week' as const, 'month' as const),
        (nowMs, period) => {
          const seconds = calculateRetryAfter(period, nowMs);
          expect(seconds).toBeGreaterThanOrEqual(1);
          expect(nowMs + seconds * 1000).toBeGreaterThanOrEqual(periodAt(period, nowMs).end.getTime());
          expect(nowMs + (seconds - 1) * 1000).toBeLessThan(periodAt(period, nowMs).end.getTime());
        },
      ),
    );
  });
});
