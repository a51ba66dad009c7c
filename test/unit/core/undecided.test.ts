import fc from 'fast-check';
import { decideAtBest } from '../../../core/budget/undecided';
import { BudgetModel, reserve, usd, type QuotaSpec } from '../../support/budget-model';

const noon = Date.UTC(2026, 10, 25, 12);

describe('what goes on while nobody decides', () => {
  const state = (quotas: readonly QuotaSpec[], more: object = {}) => ({
    ...{ tenantId: 'acme', nowMs: noon, enforced: { llm: true, e2b: true } },
    quotas: new BudgetModel(noon, quotas).quotas,
    ...more,
  });
  const ten = [{ limitUsd: '10' }];

  test.each([
    ['all that fits the limit', ten, '7', undefined, '7'],
    ['no more than the limit, where less than all is of use', ten, '70', '7', '10'],
    ['a call that costs nothing, under a limit of nothing', [{ limitUsd: '0' }], '0', undefined, '0'],
    ['the least limit counts', [...ten, { scope: 'user' as const, scopeId: 'ada', limitUsd: '2' }], '5', '1', '2'],
  ])('may spend %s', (_what, quotas, amountUsd, minimumUsd, allowed) => {
    const command = reserve('a', amountUsd, { userId: 'ada', ...(minimumUsd === undefined ? {} : { minimumUsd }) });
    expect(decideAtBest(state(quotas), command)).toEqual({ allowedUsd: usd(allowed) });
  });

  test('is nothing of a top-up that has expired, whatever is held of it', () => {
    const asked = state(ten);
    for (const quota of asked.quotas)
      Object.assign(quota, {
        ...{ limitUsd: usd('19'), spentUsd: usd('19') },
        topUps: { untilPeriodEndUsd: 0n, keptUsd: usd('9'), expiring: [] },
      });
    expect(decideAtBest(asked, reserve('a', '10'))).toEqual({ allowedUsd: usd('10') });
    expect(decideAtBest(asked, reserve('a', '15'))).toMatchObject({ refusal: { type: 'denied' } });
  });

  test('is no more than what its run, and what that belongs to, have neither spent nor hold', () => {
    const run = { runId: 'run', ancestorIds: [], limitUsd: usd('5'), spentUsd: usd('1'), reservedUsd: usd('2') };
    const runLimits = [run, { runId: 'child', ancestorIds: ['run'], spentUsd: 0n, reservedUsd: 0n }];
    const ask = (amountUsd: string, more: object = {}) =>
      decideAtBest(state(ten, { runLimits }), reserve('a', amountUsd, { runLimit: { id: 'child' }, ...more }));
    expect(ask('5', { minimumUsd: '1' })).toEqual({ allowedUsd: usd('2') });
    expect(ask('5')).toMatchObject({ refusal: { type: 'rejected', code: 'run_limit_exceeded' } });
  });

  test('is refused where no decision could grant the least of use, and told how the quota really stands', () => {
    const asked = state(ten);
    for (const quota of asked.quotas) quota.spentUsd = usd('4');
    expect(decideAtBest(asked, reserve('a', '20', { minimumUsd: '12' }))).toEqual({
      refusal: {
        type: 'denied',
        quota: expect.objectContaining({
          scope: 'tenant',
          limitUsd: '10',
          spentUsd: '4',
          estimatedUsd: '20',
        }) as object,
        message:
          'The all quota of tenant acme per month has $6 left of $10 ($4 spent, $0 reserved); $20 (at least $12) was asked for. Nothing was reserved. It resets at 2026-12-01T00:00:00.000Z.',
      },
    });
    // What is spent may come back before anybody decides.
    expect(decideAtBest(asked, reserve('b', '9'))).toEqual({ allowedUsd: usd('9') });
  });

  test.each([
    ['a limit of nothing', state([{ limitUsd: '0' }]), {}, { refusal: { type: 'denied', quota: { limitUsd: '0' } } }],
    ['no quota at all', state([]), {}, { refusal: { code: 'quota_missing' } }],
    [
      'a freeze',
      state(ten, { freeze: { tenantId: 'acme', reason: 'a loop' } }),
      {},
      { refusal: { code: 'budget_frozen' } },
    ],
    ['an amount that is none', state(ten), { minimumUsd: '2' }, { answer: { code: 'invalid_amount' } }],
  ])('is refused for %s', (_why, asked, more, refused) => {
    expect(decideAtBest(asked, reserve('a', '1', more))).toMatchObject(refused);
  });

  test('is not told what the platform has, and is bound by it', () => {
    const asked = state([...ten, { scope: 'platform', scopeId: 'platform', limitUsd: '1' }]);
    const quotas = asked.quotas.map((quota) =>
      quota.scope === 'platform' ? { ...quota, lease: { platformLimitUsd: usd('3'), exhausted: false } } : quota,
    );
    expect(decideAtBest({ ...asked, quotas }, reserve('a', '9', { minimumUsd: '1' }))).toEqual({
      allowedUsd: usd('3'),
    });
    expect(decideAtBest({ ...asked, quotas }, reserve('b', '9'))).toMatchObject({
      refusal: { quota: { scope: 'platform', limitUsd: '1' }, message: expect.not.stringContaining('$3') as string },
    });
  });

  test('may spend all of it where limits do not bind', () => {
    const asked = state([{ limitUsd: '0' }], { enforced: { llm: false, e2b: false } });
    expect(decideAtBest(asked, reserve('a', '5'))).toEqual({ allowedUsd: usd('5') });
  });

  test('never gets less than a decision grants', () => {
    const dollars = fc.integer({ min: 0, max: 40 }).map(String);
    const step = fc.record({ amount: dollars, minimum: fc.option(dollars, { nil: undefined }) });
    fc.assert(
      fc.property(fc.array(dollars, { minLength: 1, maxLength: 3 }), fc.array(step), (limits, steps) => {
        const periods = ['day', 'month', 'lifetime'] as const;
        const model = new BudgetModel(
          noon,
          limits.map((limitUsd, index) => ({ limitUsd, period: periods[index] ?? 'day' })),
        );
        for (const [index, { amount, minimum }] of steps.entries()) {
          const command = reserve(`a${index}`, amount, minimum === undefined ? {} : { minimumUsd: minimum });
          const best = decideAtBest(state([], { quotas: model.quotas }), command);
          const [answer] = model.decide(command).answers;
          if (answer?.decision !== 'granted') continue;
          expect(best).toHaveProperty('allowedUsd');
          const allowed = 'allowedUsd' in best ? best.allowedUsd : 0n;
          expect(allowed >= usd(answer.grantedUsd) && allowed <= usd(amount)).toBe(true);
        }
      }),
    );
  });
});
