/** Limits that are only watched, in the decision: what they count and tell, and what they have no say in. */
import { BudgetModel, commit, reserve, usd } from '../../support/budget-model';

const id = (n: number): string => `abcdef0${n}-aaaa-4bbb-8ccc-dddddddddddd`;
const watching = (shadow: object = {}): BudgetModel =>
  new BudgetModel(Date.UTC(2026, 0, 30, 22), [
    { limitUsd: '100' },
    { limitUsd: '5', period: 'day', isShadow: true, ...shadow },
  ]);
const told = ({ alerts }: BudgetModel) => alerts.map(({ kind, quota }) => [kind, quota.isShadow, quota.limitUsd]);

describe('a limit that is only watched', () => {
  test('counts what is granted beyond it, and tells once a period what it would have refused', () => {
    const money = watching();
    expect(money.decide(reserve(id(1), '4')).answers).toMatchObject([{ grantedUsd: '4', partial: false }]);
    expect(told(money)).toEqual([]);
    expect(money.decide(reserve(id(2), '4')).answers).toMatchObject([{ grantedUsd: '4', partial: false }]);
    expect(told(money)).toEqual([['quota_exceeded', true, usd('5')]]);
    expect(money.alerts[0]?.estimatedUsd).toBe(usd('4'));
    money.decide(reserve(id(3), '4'));
    expect(told(money)).toHaveLength(1);
    expect(money.shadows).toMatchObject([{ reservedUsd: usd('12'), spentUsd: 0n }]);
    money.nowMs += 86_400_000;
    money.decide(reserve(id(4), '6'));
    expect(told(money)).toHaveLength(2);
  });

  test('refuses nothing that takes less than it has left, be it less than was asked for', () => {
    const money = watching();
    expect(money.decide(reserve(id(1), '8', { minimumUsd: '5' })).answers).toMatchObject([{ grantedUsd: '8' }]);
    expect(told(money)).toEqual([]);
    expect(money.decide(reserve(id(2), '3', { minimumUsd: '1' })).answers).toMatchObject([{ grantedUsd: '3' }]);
    expect(told(money)).toHaveLength(1);
  });

  test('warns at its thresholds of what was spent', () => {
    const money = watching();
    money.decide(reserve(id(1), '4'));
    money.claim(id(1));
    money.outcome(id(1), { billed: true, costUsd: usd('4') });
    money.decide(commit(id(1)));
    expect(told(money)).toEqual([['quota_warning', true, usd('5')]]);
    expect(money.shadows).toMatchObject([{ reservedUsd: 0n, spentUsd: usd('4') }]);
  });

  test('tells nothing of what a limit that binds refuses', () => {
    const money = watching({ limitUsd: '50' });
    expect(money.decide(reserve(id(1), '200')).answers).toMatchObject([
      { decision: 'denied', quota: { limitUsd: '100' } },
    ]);
    expect(told(money)).toEqual([['quota_exceeded', undefined, usd('100')]]);
    expect(money.shadows).toMatchObject([{ reservedUsd: 0n }]);
  });

  test('allows nothing by itself, and does not say as what a tool is billed', () => {
    const alone = new BudgetModel(Date.UTC(2026, 0, 30, 22), [{ limitUsd: '5', isShadow: true }]);
    expect(alone.decide(reserve(id(1), '1')).answers).toMatchObject([{ decision: 'rejected', code: 'quota_missing' }]);
    const sandboxes = new BudgetModel(Date.UTC(2026, 0, 30, 22), [
      { limitUsd: '5', resourceType: 'e2b' },
      { limitUsd: '5', isShadow: true },
    ]);
    sandboxes.decide(reserve(id(2), '1', { resource: 'tool' }));
    expect(sandboxes.reservations.get(id(2))?.request?.resource).toBe('e2b');
  });

  test('counts for its user or label alone', () => {
    const money = watching({ scope: 'label', scopeId: 'team:search' });
    money.decide(reserve(id(1), '9', { labels: { team: 'ads' } }), reserve(id(2), '2', { labels: { team: 'search' } }));
    expect(money.shadows).toMatchObject([{ reservedUsd: usd('2') }]);
    expect(told(money)).toEqual([]);
  });
});
