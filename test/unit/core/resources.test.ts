/** Resources by name in the decision: which limits cover them, how they are spelled, and what a tool is billed as. */
import type { ReserveCommand } from '../../../core/budget/commands';
import { decideAtBest } from '../../../core/budget/undecided';
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

  const ofAda = { scope: 'user', scopeId: 'ada' } as const;
  const ofPlatform = { scope: 'platform', scopeId: 'platform' } as const;
  const ofSearch = { scope: 'label', scopeId: 'team:search' } as const;
  const byAda = { userId: 'ada', labels: { team: 'search' } };

  test.each<[string, QuotaSpec[], string[]]>([
    ['no limit', [of('llm', '10'), of('e2b', '10')], ['llm', 'e2b', 'tool']],
    ['that of a user', [of('all', '5', ofAda)], ['llm', 'e2b', 'tool']],
    ['that of a user for it', [of('llm', '10'), of('geocoding', '5', ofAda)], ['llm']],
    ['that of the platform', [of('all', '5', ofPlatform)], ['llm', 'e2b', 'tool']],
    ['that of a label', [of('all', '5', ofSearch)], []],
    [
      'those of others together',
      [ofAda, ofPlatform, ofSearch].map((whose) => of('all', '5', whose)),
      ['llm', 'e2b', 'tool'],
    ],
    ['that of its tenant for it', [of('geocoding', '5')], ['geocoding']],
    ['that of its tenant for all', [of('all', '5'), of('all', '9', ofAda)], ['llm', 'e2b', 'tool', 'geocoding']],
  ])('is opened by the tenant alone: by %s', (_what, limits, opened) => {
    for (const [n, resource] of ['llm', 'e2b', 'tool', 'geocoding'].entries()) {
      const asked = asking(n, resource, '1', byAda);
      const decides = opened.includes(resource) ? granted : { decision: 'rejected', code: 'quota_missing' };
      expect(money(...limits).decide(asked).answers).toMatchObject([decides]);
      const at = { tenantId: 'acme', nowMs: Date.UTC(2026, 0, 30, 22), enforced: { llm: true, e2b: true } };
      const best = decideAtBest({ ...at, quotas: money(...limits).quotas }, asked);
      expect(best).toMatchObject(
        opened.includes(resource) ? { allowedUsd: 10n ** 12n } : { refusal: { code: 'quota_missing' } },
      );
    }
  });

  test.each(['Search', 'all', '', 'a b', undefined])(
    'that cannot be, such as %j, is refused and not recorded',
    (name) => {
      const { answers, reservations } = money(of('all', '10')).decide(asking(1, name as string, '1'));
      expect(answers).toMatchObject([{ decision: 'rejected', code: 'invalid_request' }]);
      expect(reservations).toEqual([]);
    },
  );

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
    expect(model.decide(asking(4, 'geocoding', '1', { isTool: true })).answers).toMatchObject([
      { decision: 'rejected', code: 'invalid_request' },
    ]);
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
    const own = limits.map((resourceType) => ({ scope: 'tenant', scopeId: 'acme', resourceType }));
    const others = [
      { scope: 'user', scopeId: 'ada', resourceType: 'tool' },
      { scope: 'label', scopeId: 'team:search', resourceType: 'all' },
      { scope: 'platform', scopeId: 'platform', resourceType: 'all' },
    ];
    expect(billedAs('tool', [...own, ...others])).toBe(billed);
    expect(billedAs('geocoding', own)).toBe('geocoding');
  });

  test.each<[string, string[], string]>([
    ['its user', ['tenant llm', 'ada e2b'], 'e2b'],
    ['its user, who limits tools too', ['tenant llm', 'ada e2b', 'ada tool'], 'tool'],
    ['its user, who limits everything too', ['tenant llm', 'ada e2b', 'ada all'], 'tool'],
    ['another user', ['tenant llm', 'bob e2b'], 'tool'],
    ['the platform', ['tenant llm', 'platform e2b'], 'e2b'],
    ['the platform, which limits everything too', ['tenant llm', 'platform e2b', 'platform all'], 'tool'],
    ['its user, of a tenant that limits everything', ['tenant all', 'ada e2b'], 'tool'],
  ])('is what it was where sandboxes are limited by %s alone', (_whose, limits, billed) => {
    const scopes = { tenant: 'tenant', ada: 'user', bob: 'user', platform: 'platform' } as const;
    const specs = limits.map((text) => {
      const [scopeId = '', resourceType = ''] = text.split(' ');
      return of(resourceType, '5', { scopeId, scope: scopes[scopeId as keyof typeof scopes] });
    });
    const model = money(...specs);
    expect(billedAs('tool', model.quotas, { userId: 'ada' })).toBe(billed);
    const { reservations } = model.decide(asking(1, 'tool', '1', { userId: 'ada' }));
    expect(reservations).toMatchObject([{ request: { resource: billed } }]);
  });

  test('that needs no limit of its own is granted under that of its user for sandboxes, and denied by it', () => {
    const model = money(of('llm', '10'), of('e2b', '5', { scope: 'user', scopeId: 'ada' }));
    expect(model.decide({ ...asksFor(1, '4'), userId: 'ada' }).answers).toMatchObject([granted]);
    expect(model.decide({ ...asksFor(2, '4'), userId: 'ada' }).answers).toMatchObject([
      { decision: 'denied', billedAs: 'e2b', quota: { scope: 'user', resourceType: 'e2b' } },
    ]);
    const [asSuch] = model.decide(asking(3, 'e2b', '4', { userId: 'ada' })).answers;
    expect(asSuch).toMatchObject({ decision: 'denied' });
    expect(asSuch).not.toHaveProperty('billedAs');
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
