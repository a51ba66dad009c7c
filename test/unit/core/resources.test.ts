/** Resources by name in the decision: which limits cover them, how they are spelled, and what a tool is billed as. */
import type { ReserveCommand } from '../../../core/budget/commands';
import { readCommand } from '../../../core/inputs/read-command';
import { billedAs, isResource, sentAs } from '../../../core/resources';
import { BudgetModel, commit, reserve, type QuotaSpec } from '../../support/budget-model';

const id = (n: number): string => `abcdef0${n}-aaaa-4bbb-8ccc-dddddddddddd`;
const money = (...limits: QuotaSpec[]): BudgetModel => new BudgetModel(Date.UTC(2026, 0, 30, 22), limits);
const of = (resourceType: string, limitUsd: string, more: Partial<QuotaSpec> = {}): QuotaSpec => ({
  resourceType,
  limitUsd,
  ...more,
});
const asking = (n: number, resource: string, amountUsd: string, more: Partial<ReserveCommand> = {}) =>
  reserve(id(n), amountUsd, { resource, ...more });
const granted = { decision: 'granted' };

describe('a resource by name', () => {
  test.each([
    ['geocoding', true],
    ['a', true],
    ['web_search.v2-eu', true],
    ['x'.repeat(32), true],
    ['x'.repeat(33), false],
    ['all', false],
    ['Search', false],
    ['2fa', false],
    ['', false],
    ['search ', false],
    ['süche', false],
    ['search\n', false],
    [7, false],
    [undefined, false],
  ])('may be spelled %j: %s', (name, may) => {
    expect(isResource(name)).toBe(may);
    const read = readCommand({ ...asking(1, 'llm', '1'), resource: name });
    expect('command' in read).toBe(may);
  });

  test('is bound by its own limits and by those of all, and by no other', () => {
    const model = money(of('all', '10'), of('llm', '1'), of('geocoding', '3'));
    expect(model.decide(asking(1, 'geocoding', '2')).answers).toMatchObject([granted]);
    expect(model.decide(asking(2, 'geocoding', '2')).answers).toMatchObject([
      { decision: 'denied', quota: { resourceType: 'geocoding', remainingUsd: '1' } },
    ]);
    expect(model.decide(asking(3, 'search', '9')).answers).toMatchObject([
      { decision: 'denied', quota: { resourceType: 'all', remainingUsd: '8' } },
    ]);
    expect(model.decide(asking(4, 'search', '7')).answers).toMatchObject([granted]);
    expect(model.quotas.map(({ reservedUsd }) => reservedUsd / 10n ** 12n)).toEqual([9n, 0n, 2n]);
  });

  test.each([
    ['a user', { scope: 'user', scopeId: 'ada' }, { userId: 'ada' }, { userId: 'bob' }],
    [
      'a label',
      { scope: 'label', scopeId: 'team:search' },
      { labels: { team: 'search' } },
      { labels: { team: 'ads' } },
    ],
  ] as const)('is limited for %s', (_what, whose, mine, others) => {
    const model = money(of('all', '10'), of('geocoding', '1', whose));
    expect(model.decide(asking(1, 'geocoding', '2', mine)).answers).toMatchObject([
      { decision: 'denied', quota: { ...whose, resourceType: 'geocoding' } },
    ]);
    expect(model.decide(asking(2, 'geocoding', '2', others)).answers).toMatchObject([granted]);
    expect(model.decide(asking(3, 'llm', '2', mine)).answers).toMatchObject([granted]);
  });

  test('needs a limit that covers it', () => {
    const model = money(of('llm', '10'), of('e2b', '10'));
    expect(model.decide(asking(1, 'geocoding', '1')).answers).toMatchObject([{ code: 'quota_missing' }]);
  });

  test('follows the switch of models, and sandboxes have one of their own', () => {
    const model = money(of('all', '1'));
    model.enforced = { llm: false, e2b: true };
    expect(model.decide(asking(1, 'geocoding', '2')).answers).toMatchObject([granted]);
    expect(model.decide(asking(2, 'e2b', '2')).answers).toMatchObject([{ decision: 'denied' }]);
  });

  test('is refused where the database is of the version before, and nothing of it is recorded', () => {
    const model = money(of('all', '10'), of('e2b', '3'));
    model.resourcesKnown = ['llm', 'e2b'];
    const { answers, reservations } = model.decide(asking(1, 'geocoding', '1'));
    expect(answers).toMatchObject([{ decision: 'rejected', code: 'invalid_request' }]);
    expect(reservations).toEqual([]);
    // A tool is there what it was.
    const tool = { ...asking(2, 'tool', '4'), ...sentAs('tool') };
    expect(model.decide(tool).answers).toMatchObject([{ decision: 'denied', quota: { resourceType: 'e2b' } }]);
    expect(model.decide(asking(3, 'llm', '1')).answers).toMatchObject([granted]);
  });
});

describe('a tool', () => {
  const asksFor = (n: number, amountUsd: string) => ({ ...asking(n, 'tool', amountUsd), ...sentAs('tool') });

  test.each<[string[], string]>([
    [['llm', 'e2b', 'all'], 'tool'],
    [['e2b', 'tool'], 'tool'],
    [['e2b'], 'e2b'],
    [['llm', 'e2b'], 'e2b'],
    [['llm'], 'tool'],
    [[], 'tool'],
  ])('is billed where a tenant has limits of %j as %s', (limits, billed) => {
    const own = limits.map((resourceType) => ({ scope: 'tenant', resourceType }));
    const others = [
      { scope: 'user', resourceType: 'tool' },
      { scope: 'label', resourceType: 'all' },
      { scope: 'platform', resourceType: 'all' },
    ];
    expect(billedAs('tool', [...own, ...others])).toBe(billed);
    expect(billedAs('geocoding', own)).toBe('geocoding');
  });

  test('keeps under the limit of sandboxes for good, also once there is one for tools', () => {
    const model = money(of('llm', '10'), of('e2b', '3'));
    expect(model.decide(asksFor(1, '2')).answers).toMatchObject([granted]);
    expect(model.decide(asksFor(2, '2')).answers).toMatchObject([
      { decision: 'denied', quota: { resourceType: 'e2b', remainingUsd: '1' } },
    ]);
    model.quotas.push({ ...money(of('tool', '5')).quotas[0]!, quotaId: 'tools' });
    expect(model.decide(asksFor(3, '5')).answers).toMatchObject([granted]);
    model.claim(id(1));
    model.outcome(id(1), { billed: true, costUsd: 2n * 10n ** 12n });
    model.decide(commit(id(1)));
    expect(model.balance(1)).toEqual({ spentUsd: 2n * 10n ** 12n, reservedUsd: 0n });
    expect(model.balance(2)).toEqual({ spentUsd: 0n, reservedUsd: 5n * 10n ** 12n });
  });

  test('is asked for again in either way of saying it, and as nothing else', () => {
    for (const limits of [[of('e2b', '9')], [of('all', '9')]]) {
      const model = money(...limits);
      const first = model.decide(asksFor(1, '2')).answers;
      expect(first).toMatchObject([granted]);
      expect(model.decide(asksFor(1, '2')).answers).toEqual(first);
      expect(model.decide(asking(1, 'tool', '2')).answers).toEqual(first);
      expect(model.decide(asking(1, 'llm', '2')).answers).toMatchObject([{ code: 'operation_conflict' }]);
    }
    // What a sandbox asked for is no tool's.
    const model = money(of('all', '9'));
    model.decide(asksFor(1, '2'));
    expect(model.decide(asking(1, 'e2b', '2')).answers).toMatchObject([{ code: 'operation_conflict' }]);
  });
});
