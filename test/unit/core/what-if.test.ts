/** What other limits would have done: a record is reproduced by the limits that there were, and told apart by others. */
import fc from 'fast-check';
import type { Recorded } from '../../../core/budget/what-if-record';
import { keptUsd, type Place } from '../../../core/budget/line';
import { rollOver, type Quota } from '../../../core/budget/quotas';
import { totalOf } from '../../../core/budget/top-ups';
import { omitUndefined } from '../../../core/omit-undefined';
import { commit, release, reserve, usd, type QuotaSpec } from '../../support/budget-model';
import { begin, beganMs, idOf, play, RecordedModel } from '../../support/recorded-model';

const seed = Number(process.env.SPENDLOCK_TEST_SEED ?? Date.now() % 2 ** 31);

const runId = idOf(999);
const nothingOnTop = { untilPeriodEndUsd: 0n, keptUsd: 0n, expiring: [] };
const tenth = { scope: 'tenant', scopeId: 'acme', resourceType: 'all', period: 'month', limitUsd: usd('10') } as const;
const amount = fc.constantFrom('0.000000000001', '0.5', '1', '3', '7.25', '20');
const request = fc.record({
  amount,
  minimum: fc.option(amount, { nil: undefined }),
  prefersWhole: fc.constantFrom(undefined, true as const),
  userId: fc.constantFrom(undefined, 'ada', 'bob'),
  resource: fc.constantFrom('llm', 'e2b', 'geocoding'),
  labels: fc.constantFrom(undefined, { team: 'search' }, { team: 'ads' }),
  runId: fc.constantFrom(undefined, undefined, runId),
  becomes: fc.constantFrom('released', 'billed', 'not billed', 'told late', 'left'),
  cost: amount,
});
const step = fc.oneof(
  // Those of one batch: the first of them give back what they get within it, so that its order matters.
  {
    weight: 4,
    arbitrary: fc.record({ requests: fc.array(request, { minLength: 1, maxLength: 4 }), releases: fc.nat(2) }),
  },
  { weight: 1, arbitrary: fc.record({ waitSeconds: fc.constantFrom(1, 61, 86_400, 31 * 86_400) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      limitUsd: fc.constantFrom('0', '5', '50'),
      topUpUsd: fc.constantFrom('0', '3'),
      at: fc.nat(4),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ keptUsd: fc.constantFrom(undefined, '1', '4'), userId: fc.constantFrom(undefined, 'ada') }),
  },
);
const spec = fc.record({
  where: fc.constantFrom<Pick<QuotaSpec, 'scope' | 'scopeId'>>(
    { scope: 'user', scopeId: 'ada' },
    { scope: 'label', scopeId: 'team:search' },
    { scope: 'tenant', scopeId: 'acme' },
  ),
  resourceType: fc.constantFrom('llm', 'e2b', 'all'),
  period: fc.constantFrom('day' as const, 'month' as const),
  limitUsd: fc.constantFrom('0', '5', '10', '30'),
  topUps: fc.constantFrom([], [{ amountUsd: '3' }], [{ amountUsd: '4', expiresAfterMs: 60_000 }, { amountUsd: '2' }]),
});

describe('what other limits would have done', () => {
  test('with the limits that there were each request gets the answer that is on record, and each balance is as it was', () => {
    process.stdout.write(`what-if properties: seed ${seed}\n`);
    fc.assert(
      fc.property(fc.array(spec, { maxLength: 4 }), fc.array(step, { maxLength: 50 }), (specs, steps) => {
        const quotas: QuotaSpec[] = [{ limitUsd: '40' }, ...specs.map(({ where, ...rest }) => ({ ...where, ...rest }))];
        const model = new RecordedModel(quotas);
        model.addRunLimit(runId, '25');
        for (const one of steps) {
          if ('waitSeconds' in one) {
            model.nowMs += one.waitSeconds * 1000;
            model.decide();
          } else if ('limitUsd' in one) {
            model.quotas = model.quotas.map((quota) => rollOver(quota, model.nowMs));
            const quota = model.quotas[one.at % model.quotas.length] as Quota;
            const { untilPeriodEndUsd, ...others } = quota.topUps ?? nothingOnTop;
            quota.topUps = { ...others, untilPeriodEndUsd: untilPeriodEndUsd + usd(one.topUpUsd) };
            quota.limitUsd = usd(one.limitUsd) + totalOf(quota.topUps);
            model.record.push({ type: 'limited', atMs: model.nowMs, quotaId: quota.quotaId, quota: { ...quota } });
          } else if ('keptUsd' in one) {
            const { keptUsd, userId } = one;
            const place = { waiterId: 'one', resource: 'llm', userId, keptForMs: 9, isWoken: true };
            model.line = keptUsd === undefined ? [] : [{ ...place, keptUsd: usd(keptUsd) }];
          } else {
            const asked = one.requests.map((of) => ({ ...of, id: model.newId() }));
            model.decide(
              ...asked.flatMap(({ id, amount: amountUsd, minimum, becomes: _, cost: __, runId: run, ...payer }, at) => [
                reserve(id, amountUsd, {
                  ...omitUndefined(payer),
                  ...(minimum === undefined || usd(minimum) > usd(amountUsd) ? {} : { minimumUsd: minimum }),
                  ...(run === undefined ? {} : { runId: run, runLimit: { id: run } }),
                }),
                ...(at < one.releases ? [release(id)] : []),
              ]),
            );
            for (const { id, becomes, cost } of asked) {
              if (becomes === 'released') model.decide(release(id));
              if (!['billed', 'not billed', 'told late'].includes(becomes)) continue;
              model.claim(id);
              if (becomes === 'told late') model.decide(commit(id));
              model.outcome(id, becomes === 'not billed' ? { billed: false } : { billed: true, costUsd: usd(cost) });
              model.decide(commit(id));
            }
          }
        }
        const { player, found } = play(begin(...quotas), model.record);
        expect(found).toEqual([]);
        expect(player.same).toBe(model.record.filter(({ type }) => type === 'decided').length);
        const sums = (of: readonly Quota[]) =>
          of.map((quota) => {
            const { quotaId, limitUsd, spentUsd, reservedUsd } = rollOver(quota, model.nowMs);
            return [quotaId, limitUsd, spentUsd, reservedUsd];
          });
        expect(sums(player.standing())).toEqual(sums(model.quotas));
      }),
      { seed, numRuns: Number(process.env.SPENDLOCK_TEST_RUNS ?? 400) },
    );
  });

  test('what was kept for a thousand that wait takes few entries of each decision, by which it is reproduced', () => {
    const quotas: QuotaSpec[] = [
      { limitUsd: '1500' },
      { limitUsd: '400', scope: 'user', scopeId: 'user-1' },
      { limitUsd: '100', scope: 'label', scopeId: 'customer:other', resourceType: 'llm' },
    ];
    const model = new RecordedModel(quotas);
    for (const quota of model.quotas)
      if (quota.scope === 'label') quota.beyondValues = Array.from({ length: 9 }, (_, n) => `customer-${n}`);
    model.line = Array.from({ length: 1_000 }, (_, n) => ({
      ...{ waiterId: `waiter-${n}`, userId: `user-${n % 400}`, resource: n % 3 === 0 ? 'e2b' : 'llm' },
      ...{
        labels: { customer: `customer-${n}`, team: `team-${n % 7}` },
        keptUsd: usd('1'),
        keptForMs: 9,
        isWoken: true,
      },
    }));
    const payer = { userId: 'user-1', labels: { customer: 'customer-1', team: 'team-1' } };
    model.decide(reserve(idOf(1), '490', payer), reserve(idOf(2), '90', payer), reserve(idOf(3), '1200', payer));
    const decided = model.record.flatMap((event) => (event.type === 'decided' ? [event] : []));
    expect(decided.map(({ grantedUsd }) => grantedUsd)).toEqual([undefined, usd('90'), undefined]);
    for (const { decidedWith: { kept = [] } = {} } of decided) {
      expect(kept.length).toBeLessThan(20);
      for (const quota of model.quotas) expect(keptUsd(quota, kept as Place[])).toBe(keptUsd(quota, model.line));
    }
    const stood = begin(...quotas).map((quota, at) => ({ ...quota, beyondValues: model.quotas[at]?.beyondValues }));
    expect(play(stood, model.record).found).toEqual([]);
  });

  test('with a lower limit what would have been refused spends nothing, and what would have got less costs no more', () => {
    const model = new RecordedModel([{ limitUsd: '40' }]);
    const [one, two, three, four] = [1, 2, 3, 4].map(idOf) as [string, string, string, string];
    model.decide(reserve(one, '6'));
    model.decide(reserve(two, '6'));
    model.decide(release(two));
    model.decide(reserve(three, '6', { minimumUsd: '1' }));
    model.claim(three);
    model.outcome(three, { billed: true, costUsd: usd('5') });
    model.decide(commit(three));
    model.decide(reserve(four, '1'));
    const { player, found } = play(begin({ limitUsd: '40' }), model.record, [tenth]);
    expect(found).toMatchObject([
      { request: { operationId: two }, grantedUsd: undefined, quota: tenth },
      { request: { operationId: three }, grantedUsd: usd('4') },
      { request: { operationId: four }, grantedUsd: undefined },
    ]);
    expect(player.same).toBe(1);
    expect(player.standing()).toMatchObject([{ reservedUsd: usd('6'), spentUsd: usd('4') }]);
  });

  test('with a higher limit what was refused is taken to cost its grant', () => {
    const model = new RecordedModel([{ limitUsd: '10' }]);
    model.decide(reserve(idOf(1), '6'));
    model.decide(reserve(idOf(2), '6'));
    const { player, found } = play(begin({ limitUsd: '10' }), model.record, [{ ...tenth, limitUsd: usd('40') }]);
    expect(found).toMatchObject([{ request: { operationId: idOf(2) }, grantedUsd: usd('6') }]);
    expect(player.standing()).toMatchObject([{ reservedUsd: usd('6'), spentUsd: usd('6') }]);
  });

  const ended = { costUsd: usd('6'), grantedUsd: usd('6') };
  const asked = (n: number, more: object = {}): Recorded => ({
    ...{ type: 'decided', atMs: beganMs + n, operationId: idOf(n), resource: 'llm', amountUsd: usd('6') },
    ...more,
  });

  test('what no limit of the tenant covers, or a label’s alone, is covered by the platform’s', () => {
    const quotas: QuotaSpec[] = [{ limitUsd: '7', scope: 'label', scopeId: 'team:search' }];
    const labels = { team: 'search' };
    const record = [
      asked(1, { grantedUsd: usd('6') }),
      asked(2, { grantedUsd: usd('6'), labels }),
      asked(3, { labels }),
      { ...asked(1), ...ended, type: 'ended' } as Recorded,
    ];
    const { player, found } = play(begin(...quotas), record);
    expect(found).toEqual([]);
    expect(player).toMatchObject({ same: 3, costUsd: usd('6') });
  });

  test('one answer that is not reproduced makes no others, and what is on record is what all of it cost', () => {
    const record = [
      asked(1),
      asked(2, { grantedUsd: usd('6') }),
      asked(3),
      { ...asked(2), ...ended, type: 'ended' } as Recorded,
    ];
    const { player, found } = play(begin({ limitUsd: '10' }), record);
    expect(found).toMatchObject([{ request: { operationId: idOf(1) }, grantedUsd: usd('6') }]);
    expect(player).toMatchObject({ same: 2, costUsd: usd('6') });
  });

  test('what got more is corrected as on record, and what got less is not', () => {
    const shrunk = { amountUsd: usd('6'), minimumUsd: usd('1'), grantedUsd: usd('4') };
    const record = [
      asked(1, shrunk),
      { ...asked(1), type: 'ended', grantedUsd: usd('4'), costUsd: usd('4'), isUnverified: true } as Recorded,
      { ...asked(1), type: 'corrected', amountUsd: -usd('3'), postedAtMs: beganMs + 1 } as Recorded,
    ];
    const costBy = (limitUsd: string) =>
      play(begin({ limitUsd: '4' }), record, [{ ...tenth, limitUsd: usd(limitUsd) }]).player.costUsd;
    expect(costBy('40')).toBe(usd('1'));
    expect(costBy('2')).toBe(usd('2'));
  });

  test('a step that was refused and asked again is granted once, and costs what it did where it got its money at last', () => {
    const step = 'run llm 1 1';
    const tried = [{ ...tenth, limitUsd: usd('40') }];
    const record = [1, 2, 3].map((n) => asked(n, { step }));
    const refused = play(begin({ limitUsd: '0' }), record, tried);
    expect(refused.found).toMatchObject([{ request: { operationId: idOf(1) }, grantedUsd: usd('6') }]);
    expect(refused.player.costUsd).toBe(usd('6'));
    const end = { ...asked(4), ...ended, type: 'ended', costUsd: usd('2') } as Recorded;
    const granted = play(begin({ limitUsd: '0' }), [...record, asked(4, { step, grantedUsd: usd('6') }), end], tried);
    expect([granted.found.length, granted.player.costUsd]).toEqual([1, usd('2')]);
    expect(granted.player.standing()).toMatchObject([{ spentUsd: usd('2'), reservedUsd: 0n }]);
    const others = play(begin({ limitUsd: '0' }), [asked(1, { step }), asked(2, { step: 'run llm 2 1' })], tried);
    expect(others.found).toHaveLength(2);
  });
});
