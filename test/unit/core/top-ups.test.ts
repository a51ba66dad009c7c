/** What a limit is topped up by: who pays first, what expires, what stays for those that hold it, and when money is back (B4). */
import { headroomUsd, type Standing } from '../../../core/budget/quotas';
import { retryAfterSeconds } from '../../../core/budget/retry-after';
import { standsAt, totalOf, type TopUps } from '../../../core/budget/top-ups';
import { formatUsd } from '../../../core/money';
import { BudgetModel, commit, release, reserve, usd } from '../../support/budget-model';

const hour = 3_600_000;
/** Noon. */
const noonMs = Date.UTC(2026, 0, 15, 12);

interface Spec {
  spent?: string;
  reserved?: string;
  untilPeriodEnd?: string;
  kept?: string;
  /** After noon, in hours. */
  expiring?: [amountUsd: string, afterHours: number][];
}

/** A quota of $10 a day at noon. */
function quota({ spent = '0', reserved = '0', untilPeriodEnd = '0', kept = '0', expiring = [] }: Spec): Standing {
  const topUps: TopUps = {
    untilPeriodEndUsd: usd(untilPeriodEnd),
    keptUsd: usd(kept),
    expiring: expiring.map(([amountUsd, after]) => ({ amountUsd: usd(amountUsd), expiresAtMs: noonMs + after * hour })),
  };
  return {
    ...{ scope: 'tenant', scopeId: 'acme', resourceType: 'all', period: 'day', periodEndMs: noonMs + 12 * hour },
    ...{ limitUsd: usd('10') + totalOf(topUps), spentUsd: usd(spent), reservedUsd: usd(reserved), topUps },
  };
}

describe('a top-up that expires', () => {
  test.each<[string, Spec, number, string]>([
    ['takes all of it where the limit had room', { spent: '4', expiring: [['5', 1]] }, 1, '10'],
    ['takes what is unused: the limit is spent first', { spent: '12', expiring: [['5', 1]] }, 1, '12'],
    ['is there until its moment', { spent: '12', expiring: [['5', 2]] }, 1, '15'],
    ['leaves what is held', { spent: '9', reserved: '4', expiring: [['5', 1]] }, 1, '13'],
    ['takes nothing of a limit that is passed', { spent: '20', expiring: [['5', 1]] }, 1, '15'],
    [
      'is spent before one that expires later',
      {
        spent: '12',
        expiring: [
          ['5', 1],
          ['5', 2],
        ],
      },
      1,
      '17',
    ],
    [
      'and then that one takes what is unused of it',
      {
        spent: '12',
        expiring: [
          ['5', 1],
          ['5', 2],
        ],
      },
      2,
      '12',
    ],
    ['is spent before one of the period', { spent: '12', untilPeriodEnd: '5', expiring: [['5', 1]] }, 1, '17'],
    ['comes after those that expired before it', { spent: '13', kept: '2', expiring: [['5', 1]] }, 1, '13'],
    ['goes on over the end of the period', { spent: '4', expiring: [['5', 20]] }, 13, '15'],
    ['with what was not spent of it', { spent: '13', expiring: [['5', 20]] }, 13, '12'],
    [
      'that outlives the period is spent after one of the period',
      { spent: '13', untilPeriodEnd: '3', expiring: [['5', 20]] },
      13,
      '15',
    ],
    ['in the next period is gone at its moment', { spent: '13', expiring: [['5', 20]] }, 20, '10'],
    ['and leaves what is held into that', { reserved: '12', expiring: [['5', 20]] }, 20, '12'],
    ['ends with the period where it expires at its end', { spent: '13', expiring: [['5', 12]] }, 12, '10'],
    ['in a period that nobody saw is gone', { spent: '13', reserved: '12', expiring: [['5', 20]] }, 40, '10'],
    ['of several periods goes on through all of them', { spent: '13', expiring: [['5', 100]] }, 70, '12'],
    [
      'before its period ends has no part in the next',
      {
        spent: '13',
        expiring: [
          ['5', 1],
          ['5', 20],
        ],
      },
      13,
      '15',
    ],
  ])('%s', (_what, spec, afterHours, limitUsd) => {
    const found = quota(spec);
    const before = JSON.stringify(found, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value));
    const later = standsAt(found, noonMs + afterHours * hour);
    expect(formatUsd(later.limitUsd)).toBe(limitUsd);
    expect(later.limitUsd - totalOf(later.topUps)).toBe(usd('10'));
    expect(JSON.stringify(found, (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value))).toBe(
      before,
    );
  });

  const held = () => {
    const model = new BudgetModel(noonMs, [
      { limitUsd: '10', period: 'day', topUps: [{ amountUsd: '5', expiresAfterMs: hour }] },
    ]);
    expect(model.decide(reserve('held', '15', { ttlSeconds: 86_400 })).answers).toMatchObject([
      { decision: 'granted' },
    ]);
    model.nowMs += 2 * hour;
    return model;
  };
  const asks = (model: BudgetModel, ...commands: Parameters<BudgetModel['decide']>) =>
    model.decide(...commands).answers.map((answer) => answer?.decision);

  test('leaves a reservation what it holds, and nobody else gets what came back of it, in the same batch either', () => {
    const model = held();
    expect(asks(model, reserve('none', '0.01'))).toEqual(['denied']);
    expect(asks(model, release('held'), reserve('too-much', '10.01'), reserve('all', '10'))).toEqual([
      'denied',
      'granted',
    ]);
  });

  test('keeps what was spent of it, and takes the rest of a hold that cost less', () => {
    const model = held();
    model.claim('held');
    model.outcome('held', { billed: true, costUsd: usd('12') });
    expect(asks(model, commit('held'), reserve('none', '0.01'))).toEqual(['denied']);
    expect(formatUsd(headroomUsd(model.quotas[0] as Standing))).toBe('0');
    expect(formatUsd(model.quotas[0]?.limitUsd ?? 0n)).toBe('12');
  });
});

describe('when a request fits again', () => {
  const after = (standing: Standing, neededUsd: string, holds: [usd: string, afterHours: number][] = []) =>
    retryAfterSeconds({
      ...{ quotas: [standing], neededUsd: usd(neededUsd), nowMs: noonMs },
      holds: holds.map(([granted, hours], index) => ({
        ...{ operationId: `hold-${index}`, resource: 'llm', grantedUsd: usd(granted) },
        freesAtMs: noonMs + hours * hour,
      })),
    });

  test('is never, for what fits only with a top-up that goes with the period', () => {
    expect(after(quota({ spent: '15', untilPeriodEnd: '5' }), '10')).toBe(12 * 3_600);
    expect(after(quota({ spent: '15', untilPeriodEnd: '5' }), '11')).toBeUndefined();
  });

  test('is the next period, where a top-up goes on into it', () => {
    expect(after(quota({ spent: '9', expiring: [['5', 40]] }), '12')).toBe(12 * 3_600);
    expect(after(quota({ spent: '13', expiring: [['5', 40]] }), '13')).toBeUndefined();
  });

  test('counts on a hold that runs out before the top-up does, and not on one that runs out after it', () => {
    const full = quota({ reserved: '15', expiring: [['5', 2]] });
    expect(after(full, '5', [['15', 1]])).toBe(3_600);
    expect(after(full, '5', [['15', 3]])).toBe(3 * 3_600);
    expect(after(full, '12', [['15', 1]])).toBe(3_600);
    expect(after(full, '12', [['15', 3]])).toBeUndefined();
  });

  test('is soon where calls under way hold it, also of a top-up that goes with the period, and of a lifetime', () => {
    const held = quota({ reserved: '15', untilPeriodEnd: '5' });
    expect(after(held, '12')).toBe(10);
    expect(after(held, '15')).toBe(10);
    expect(after(held, '15.01')).toBeUndefined();
    expect(after({ ...held, period: 'lifetime' }, '12')).toBe(10);
    // Some of it is held by what runs out: that alone is not enough before.
    expect(after(held, '12', [['8', 1]])).toBe(3_600);
    expect(after(held, '7', [['8', 1]])).toBe(10);
    // What is spent comes back with the period alone.
    expect(after(quota({ spent: '12', reserved: '3' }), '4')).toBe(12 * 3_600);
  });
});
