/** Limits of labels in the decision: whom they cover, which binds, and what `other` stands for. */
import { BudgetModel, reserve } from '../../support/budget-model';
import { covers } from '../../../core/budget/quotas';
import type { Labels } from '../../../core/labels';

const id = (n: number): string => `abcdef0${n}-aaaa-4bbb-8ccc-dddddddddddd`;
const model = (...limits: [scopeId: string, limitUsd: string][]): BudgetModel =>
  new BudgetModel(Date.UTC(2026, 0, 30, 22), [
    { limitUsd: '100' },
    ...limits.map(([scopeId, limitUsd]) => ({ scope: 'label' as const, scopeId, period: 'day' as const, limitUsd })),
  ]);

describe('a limit of a label', () => {
  test.each<[string, Labels | undefined, boolean]>([
    ['what has it', { team: 'search' }, true],
    ['what has it among others', { feature: 'chat', team: 'search' }, true],
    ['no other value', { team: 'ads' }, false],
    ['no other key', { feature: 'search' }, false],
    ['nothing without labels', undefined, false],
    ['a value with a colon as it is', { team: 'a:b' }, false],
  ])('covers %s', (_what, labels, covered) => {
    const quota = { scope: 'label' as const, scopeId: 'team:search', resourceType: 'all' as const };
    expect(covers(quota, { resource: 'llm', labels })).toBe(covered);
    expect(covers({ ...quota, scopeId: 'team:a:b' }, { resource: 'llm', labels })).toBe(labels?.team === 'a:b');
    expect(covers({ ...quota, resourceType: 'e2b' }, { resource: 'llm', labels })).toBe(false);
    expect(covers({ ...quota, scopeId: 'team:other', beyondValues: ['search'] }, { resource: 'llm', labels })).toBe(
      covered,
    );
  });

  test('binds with those of other labels, all or nothing, and the tightest is named', () => {
    const money = model(['team:search', '5'], ['feature:chat', '3']);
    const both = { labels: { team: 'search', feature: 'chat' } };
    expect(money.decide(reserve(id(1), '4', both)).answers).toMatchObject([
      {
        decision: 'denied',
        quota: { scope: 'label', scopeId: 'feature:chat', remainingUsd: '3' },
      },
    ]);
    expect(money.quotas.map(({ reservedUsd }) => reservedUsd)).toEqual([0n, 0n, 0n]);
    expect(money.decide(reserve(id(2), '4', { ...both, minimumUsd: '1' })).answers).toMatchObject([
      { grantedUsd: '3' },
    ]);
    expect(money.decide(reserve(id(3), '4', { labels: { team: 'search' } })).answers).toMatchObject([
      { decision: 'denied', quota: { scopeId: 'team:search' }, retryAfterSeconds: 60 },
    ]);
    expect(money.decide(reserve(id(4), '40')).answers).toMatchObject([{ decision: 'granted' }]);
    expect(money.alerts.map(({ kind, quota }) => [kind, quota.scopeId])).toEqual([
      ['quota_exceeded', 'feature:chat'],
      ['quota_exceeded', 'team:search'],
    ]);
  });

  test('keeps for those that wait what has its label, and nothing of others', () => {
    const money = model(['team:search', '5']);
    money.line = [
      {
        ...{ waiterId: id(9), resource: 'llm', keptUsd: 4_000_000_000_000n, keptForMs: 3_000, isWoken: true },
        labels: { team: 'search' },
      },
    ];
    expect(money.decide(reserve(id(1), '2', { labels: { team: 'search' } })).answers).toMatchObject([
      { decision: 'denied', quota: { scopeId: 'team:search' }, retryAfterSeconds: 3 },
    ]);
    expect(money.decide(reserve(id(2), '97', { labels: { team: 'ads' } })).answers).toMatchObject([
      { decision: 'denied', quota: { scope: 'tenant' } },
    ]);
    expect(money.decide(reserve(id(3), '90', { labels: { team: 'ads' } })).answers).toMatchObject([
      { decision: 'granted' },
    ]);
  });

  test('allows nothing by itself: who asks chooses its labels', () => {
    const money = new BudgetModel(0, [
      { resourceType: 'e2b', limitUsd: '10' },
      { scope: 'label', scopeId: 'team:search', limitUsd: '100' },
    ]);
    const asked = { labels: { team: 'search' } };
    expect(money.decide(reserve(id(1), '1', asked)).answers).toMatchObject([
      { decision: 'rejected', code: 'quota_missing' },
    ]);
    expect(money.decide(reserve(id(2), '1', { ...asked, resource: 'e2b' })).answers).toMatchObject([
      { decision: 'granted' },
    ]);
  });
});
