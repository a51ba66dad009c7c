/** Who of those that wait for money would get it, and what is kept for whom meanwhile. */
import { keptFrom, keptUsd, leastUsd, standInLine, type Place } from '../../../core/budget/line';
import type { Standing } from '../../../core/budget/quotas';
import { formatUsd, parseUsd } from '../../../core/money';
import { BudgetModel, reserve } from '../../support/budget-model';

const quota = (limitUsd: string, more: Partial<Standing> = {}): Standing => ({
  scope: 'tenant',
  scopeId: 'acme',
  resourceType: 'all',
  period: 'month',
  periodEndMs: Date.parse('2026-02-01'),
  limitUsd: parseUsd(limitUsd),
  spentUsd: 0n,
  reservedUsd: 0n,
  ...more,
});

describe('of those that wait for money', () => {
  const waiter = (name: string, amountUsd: string, more: object = {}) => ({
    name,
    resource: 'llm' as const,
    amountUsd: parseUsd(amountUsd),
    ...more,
  });
  type Waiter = ReturnType<typeof waiter>;
  const fit = (limitUsd: string, waiters: Waiter[], more: Partial<Standing> = {}): string[] =>
    standInLine([quota(limitUsd, more)], waiters).flatMap(({ fits, waiter: { name } }) => (fits ? [name] : []));

  test('the first fit together, and what can never be enough holds up nobody', () => {
    const line = [
      waiter('first', '0.1'),
      waiter('large', '0.5', { isNamed: true }),
      waiter('third', '0.1'),
      waiter('fourth', '0.1'),
    ];
    expect(fit('0.2', line)).toEqual(['first', 'third']);
    expect(fit('1', line)).toEqual(['first', 'large', 'third', 'fourth']);
    expect(fit('0.05', line)).toEqual([]);
  });

  test('one that gathers what comes back holds up those behind it, for half a minute', () => {
    const line = (waitedMs: number): Waiter[] => [
      waiter('large', '0.5', { isNamed: true, waitedMs }),
      waiter('small', '0.1'),
    ];
    const held = { reservedUsd: parseUsd('0.5') };
    expect(fit('0.9', line(29_999), held)).toEqual([]);
    expect(fit('1.1', line(29_999), held)).toEqual(['large', 'small']);
    expect(fit('0.9', line(30_000), held)).toEqual(['small']);
    // A step of the version before does not say which place is its own, so nothing can be kept for it.
    expect(fit('0.9', [waiter('large', '0.5'), waiter('small', '0.1')], held)).toEqual(['small']);
  });

  test('one that was woken and did not ask may still, and nothing is kept for it', () => {
    const line = [waiter('silent', '0.1', { isSilent: true }), waiter('next', '0.1'), waiter('third', '0.1')];
    expect(fit('0.1', line)).toEqual(['silent', 'next']);
  });

  test('each is told what is kept for it', () => {
    const line = [waiter('first', '0.1'), waiter('large', '0.5', { isNamed: true }), waiter('last', '0.1')];
    const stands = standInLine([quota('0.6', { reservedUsd: parseUsd('0.4') })], line);
    expect(stands.map(({ keptUsd }) => formatUsd(keptUsd))).toEqual(['0.1', '0.5', '0']);
  });

  test.each([
    ['there may be all of it', { reservedUsd: parseUsd('0.8') }, '0.5'],
    ['less is to come, and that', { spentUsd: parseUsd('0.6'), reservedUsd: parseUsd('0.2') }, '0.4'],
    ['no more than the least, and that', { spentUsd: parseUsd('0.95') }, '0.1'],
  ])('one that prefers the whole takes the whole where %s', (_case, more, leastIs) => {
    const ask = { amountUsd: parseUsd('0.5'), minimumUsd: parseUsd('0.1') };
    expect(formatUsd(leastUsd([quota('1', more)], { ...ask, prefersWhole: true }))).toBe(leastIs);
    expect(formatUsd(leastUsd([quota('1', more)], ask))).toBe('0.1');
  });

  test('what is kept is kept from those behind and from those that come later, not from those before', () => {
    const place = (waiterId: string, usd: string, more: Partial<Place> = {}): Place => ({
      ...{ waiterId, resource: 'llm', keptUsd: parseUsd(usd), keptForMs: 3_000, isWoken: false },
      ...more,
    });
    const line = [
      place('first', '0.1'),
      place('second', '0.2'),
      place('woken', '0.4', { isWoken: true }),
      place("ada's", '0.8', { userId: 'ada', isWoken: true }),
    ];
    const kept = (waiterId?: string, more: Partial<Standing> = {}): string =>
      formatUsd(keptUsd(quota('9', more), keptFrom(line, { waiterId })));
    expect(kept()).toBe('1.5');
    expect(kept('nobody')).toBe('1.5');
    expect(kept('first')).toBe('1.2');
    expect(kept('second')).toBe('1.3');
    expect(kept('woken')).toBe('1.1');
    expect(kept(undefined, { scope: 'user', scopeId: 'ada' })).toBe('0.8');
    expect(kept(undefined, { scope: 'user', scopeId: 'bob' })).toBe('0');
    expect(kept(undefined, { scope: 'platform' })).toBe('0');
    // The place that a run had before it was reset is its own too.
    const before = [place('left over', '0.1', { runId: 'run', isWoken: true }), place('first', '0.2')];
    expect(keptFrom(before, { waiterId: 'last', runId: 'run' })).toEqual([]);
    expect(keptFrom(before, { runId: 'another' })).toEqual(before);
  });
});

describe('a decision', () => {
  const first = '00000000-0000-4000-8000-00000000000a';
  const large = '00000000-0000-4000-8000-00000000000b';
  const model = (): BudgetModel => {
    const model = new BudgetModel(0, [{ limitUsd: '1' }]);
    model.line = [
      { waiterId: first, resource: 'llm', keptUsd: parseUsd('0.3'), keptForMs: 2_500, isWoken: true },
      { waiterId: large, resource: 'llm', keptUsd: parseUsd('0.6'), keptForMs: 20_000, isWoken: false },
    ];
    return model;
  };
  const asks = (id: string, amountUsd: string, more: object = {}) => ({ ...reserve(id, amountUsd), ...more });

  test('gives a newcomer only what is not kept, and says what is', () => {
    const [small, denied] = model().decide(asks('a', '0.1'), asks('b', '0.1')).answers;
    expect(small).toMatchObject({ decision: 'granted', grantedUsd: '0.1' });
    expect(denied).toMatchObject({
      decision: 'denied',
      retryAfterSeconds: 20,
      quota: { remainingUsd: '0.9' },
      message: expect.stringContaining(
        'has $0.9 left of $1 ($0 spent, $0.1 reserved), $0.9 of it kept for calls that have waited longer; $0.1 was asked for.',
      ) as string,
    });
  });

  test('says until when by what is kept of the quota that binds, and not by what is kept of others', () => {
    const users = new BudgetModel(0, [{ limitUsd: '10' }, { scope: 'user', scopeId: 'ada', limitUsd: '1' }]);
    users.line = [
      { waiterId: first, resource: 'llm', userId: 'ada', keptUsd: parseUsd('0.9'), keptForMs: 2_500, isWoken: true },
      { waiterId: large, resource: 'llm', userId: 'ben', keptUsd: parseUsd('6'), keptForMs: 20_000, isWoken: false },
    ];
    const [denied] = users.decide(asks('a', '0.5', { userId: 'ada' })).answers;
    expect(denied).toMatchObject({ decision: 'denied', retryAfterSeconds: 3, quota: { scope: 'user' } });
  });

  test('of one that is denied for what is kept alerts nobody: the quota has not refused it', () => {
    expect(model().decide(asks('a', '0.2')).alerts).toEqual([]);
    expect(model().decide(asks('a', '2')).alerts).toHaveLength(1);
  });

  test('gives one that waited its own, and what is kept for it once only', () => {
    const { answers, served } = model().decide(
      asks('a', '0.3', { waiterId: first.toUpperCase() }),
      asks('b', '0.2'),
      asks('c', '0.1'),
    );
    expect(answers.map((answer) => answer?.decision)).toEqual(['granted', 'denied', 'granted']);
    expect(served).toEqual([first]);
  });

  test('gives a partial grant that leaves what others were woken for', () => {
    const [answer] = model().decide(asks('a', '0.9', { waiterId: large, minimumUsd: '0.1' })).answers;
    expect(answer).toMatchObject({ decision: 'granted', partial: true, grantedUsd: '0.7' });
  });

  test('gives what is left to one that prefers the whole only where no more is to come', () => {
    const money = new BudgetModel(0, [{ limitUsd: '1' }]);
    money.decide(asks('other', '0.8'));
    const ask = { minimumUsd: '0.1', prefersWhole: true };
    expect(money.decide(asks('a', '0.5', ask)).answers[0]).toMatchObject({ decision: 'denied' });
    money.claim('other');
    money.outcome('other', { billed: true, costUsd: parseUsd('0.7') });
    money.decide({ type: 'commit', operationId: 'other' });
    expect(money.decide(asks('b', '0.5', ask)).answers[0]).toMatchObject({ decision: 'granted', grantedUsd: '0.3' });
  });

  test('keeps nothing where limits do not bind', () => {
    const money = model();
    money.enforced = { llm: false, e2b: true };
    expect(money.decide(asks('a', '1')).answers[0]).toMatchObject({ decision: 'granted', partial: false });
  });
});
