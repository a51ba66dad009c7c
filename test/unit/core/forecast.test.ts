import fc from 'fast-check';
import { forecast } from '../../../core/budget/forecast';
import { parseUsd, sumUsd } from '../../../core/money';

const day = 86_400_000;
const month = (limit: string, spent: string) => ({
  limitUsd: parseUsd(limit),
  spentUsd: parseUsd(spent),
  period: 'month' as const,
  periodStartMs: 0,
  periodEndMs: 30 * day,
});

describe('a forecast', () => {
  test.each([
    ['a third of the month, a third of the limit', month('30', '10'), 10 * day, '30', undefined],
    ['half the month, three quarters of the limit', month('40', '30'), 15 * day, '60', 20 * day],
    ['spent already', month('10', '12'), 15 * day, '24', 15 * day],
    ['nothing spent', month('10', '0'), 15 * day, '0', undefined],
    ['a limit of nothing', month('0', '1'), 15 * day, '2', 15 * day],
  ])('goes on as it began: %s', (_name, quota, nowMs, projected, exhaustedAtMs) => {
    expect(forecast(quota, nowMs)).toEqual({
      projectedUsd: parseUsd(projected),
      ...(exhaustedAtMs === undefined ? {} : { exhaustedAtMs }),
    });
  });

  /** A month's limit of $10 with top-ups that expire on these days, after ten days of $1 each. */
  const toppedUp = (...topUps: [amount: string, onDay: number][]) => {
    const expiring = topUps.map(([amount, onDay]) => ({ amountUsd: parseUsd(amount), expiresAtMs: onDay * day }));
    const totalUsd = sumUsd(expiring.map(({ amountUsd }) => amountUsd));
    const limit = month('10', '10');
    return {
      ...limit,
      limitUsd: limit.limitUsd + totalUsd,
      topUps: { untilPeriodEndUsd: 0n, keptUsd: 0n, expiring },
    };
  };

  test.each([
    ['is used up before it expires', toppedUp(['5', 20]), 15],
    ['expires before it is used up', toppedUp(['50', 20]), 20],
    ['would have lasted, and has expired by then', toppedUp(['20', 29]), 29],
    ['is followed by one that lasts', toppedUp(['50', 20], ['3', 60]), 23],
    ['outlives the period', toppedUp(['20', 60]), undefined],
  ])('knows that a top-up expires: one that %s', (_name, quota, usedUpOnDay) => {
    expect(forecast(quota, 10 * day)).toEqual({
      projectedUsd: parseUsd('30'),
      ...(usedUpOnDay === undefined ? {} : { exhaustedAtMs: usedUpOnDay * day }),
    });
  });

  test.each([
    ['in the first hour', 3_599_999],
    ['before the period', -1],
    ['after it', 30 * day],
  ])('says nothing %s', (_name, nowMs) => {
    expect(forecast(month('10', '5'), nowMs)).toBeUndefined();
  });

  test('names a moment of the period, now or later, exactly when it ends above the limit', () => {
    const amount = fc.bigInt({ min: 0n, max: 10n ** 24n });
    fc.assert(
      fc.property(amount, amount, fc.integer({ min: 3_600_000, max: 30 * day - 1 }), (limitUsd, spentUsd, nowMs) => {
        const found = forecast({ ...month('0', '0'), limitUsd, spentUsd }, nowMs);
        expect(found?.projectedUsd).toBeGreaterThanOrEqual(spentUsd);
        expect(found?.exhaustedAtMs !== undefined).toBe((found?.projectedUsd ?? 0n) > limitUsd);
        if (found?.exhaustedAtMs === undefined) return;
        expect(found.exhaustedAtMs).toBeGreaterThanOrEqual(nowMs);
        expect(found.exhaustedAtMs).toBeLessThanOrEqual(30 * day);
      }),
    );
  });
});
