import type { BudgetCommand } from '../../../core/budget/commands';
import type { Quota } from '../../../core/budget/quotas';
import type { Reservation } from '../../../core/budget/reservations';
import { BudgetModel, commit, release, reserve, usd } from '../../support/budget-model';

const noon = Date.UTC(2026, 10, 25, 12);

describe('a decision', () => {
  let model: BudgetModel;
  beforeEach(() => {
    model = new BudgetModel(noon, [{ limitUsd: '10' }]);
  });
  const billed = (costUsd: string) => ({ billed: true as const, costUsd: usd(costUsd) });
  const decisions = (...commands: BudgetCommand[]): string[] =>
    model.decide(...commands).answers.map((answer) => answer?.decision ?? 'waiting');

  test('grants to the last cent and denies the next', () => {
    expect(decisions(reserve('a', '6'), reserve('b', '4'), reserve('c', '0.000000000001'))).toEqual([
      'granted',
      'granted',
      'denied',
    ]);
    expect(model.balance()).toEqual({ spentUsd: 0n, reservedUsd: usd('10') });
  });

  test('refuses a frozen payer with whose freeze it is and the command that lifts it', () => {
    model.frozenUsers = { ada: 'a leak', 'o neil': 'two words' };
    expect(
      model.decide(reserve('a', '1', { userId: 'ada' }), reserve('b', '1', { userId: 'grace' })).answers,
    ).toMatchObject([
      {
        code: 'budget_frozen',
        message:
          'The budget of user ada of acme is frozen: a leak. Nothing was reserved. An operator lifts it: `npx spendlock budget unfreeze acme --user ada`.',
      },
      { decision: 'granted' },
    ]);
    expect(model.decide(reserve('c', '1', { userId: 'o neil' })).answers[0]).toMatchObject({
      message: expect.stringContaining("unfreeze acme --user 'o neil'") as string,
    });
    model.frozen = 'unpaid';
    expect(model.decide(reserve('d', '1', { userId: 'ada' })).answers[0]).toMatchObject({
      message: expect.stringMatching(
        /^The budget of acme is frozen: unpaid[.].*`npx spendlock budget unfreeze acme`[.]$/,
      ) as string,
    });
  });

  test('commits the actual cost and frees the rest', () => {
    model.decide(reserve('a', '6'));
    model.claim('a');
    model.outcome('a', billed('2.5'));
    model.decide(commit('a'));
    expect(model.balance()).toEqual({ spentUsd: usd('2.5'), reservedUsd: 0n });
    expect(model.reservations.get('a')).toMatchObject({
      status: 'committed',
      settlement: 'actual',
      committedUsd: usd('2.5'),
    });
    expect(model.ledger).toMatchObject([
      { operationId: 'a', entry: 'commit', amountUsd: usd('2.5'), settlement: 'actual' },
    ]);
  });

  test('frees, before it decides, what outcomes and expiries free', () => {
    model.decide(reserve('a', '6'), reserve('b', '4', { ttlSeconds: 5 }));
    model.claim('a');
    model.outcome('a', billed('1'));
    model.nowMs += 5_000;
    expect(decisions(reserve('c', '9'))).toEqual(['granted']);
    expect(model.reservations.get('b')).toMatchObject({ status: 'expired', settlement: 'expired' });
  });

  test.each([
    ['commit of an unclaimed one', commit, { status: 'released', settlement: 'released' }],
    ['release of an unclaimed one', release, { status: 'released', settlement: 'released' }],
  ])('%s gives the money back', (_name, command, expected) => {
    model.decide(reserve('a', '6'));
    model.decide(command('a'));
    expect(model.reservations.get('a')).toMatchObject(expected);
    expect(model.balance()).toEqual({ spentUsd: 0n, reservedUsd: 0n });
  });

  test('charges the estimate, unverified, when a claimed one is committed and nobody knows its cost', () => {
    model.decide(reserve('a', '6'));
    model.claim('a');
    model.decide(commit('a'));
    expect(model.reservations.get('a')).toMatchObject({ settlement: 'unverified', committedUsd: usd('6') });
    expect(model.balance()).toEqual({ spentUsd: usd('6'), reservedUsd: 0n });
  });

  test.each([
    ['commit', [commit('a')]],
    ['expiry', []],
  ])('charges what was asked for, unverified, at the %s of what went on without a grant (XA4)', (_name, commands) => {
    model.decide(reserve('a', '6'));
    const granted = model.reservations.get('a') as Reservation;
    // As `allow_unreserved` writes it: nothing is held for it.
    model.reservations.set('a', { ...granted, grantedUsd: 0n, unreserved: true, claimed: true });
    for (const quota of model.quotas) quota.reservedUsd = 0n;
    model.nowMs += 61_000;
    model.decide(...commands);
    expect(model.reservations.get('a')).toMatchObject({ settlement: 'unverified', committedUsd: usd('6') });
    expect(model.ledger).toMatchObject([{ entry: 'commit', amountUsd: usd('6'), settlement: 'unverified' }]);
    expect(model.balance()).toEqual({ spentUsd: usd('6'), reservedUsd: 0n });
    // What it cost, known late, corrects it.
    model.outcome('a', billed('2'));
    model.decide();
    expect(model.reservations.get('a')).toMatchObject({ settlement: 'actual', committedUsd: usd('2') });
    expect(model.balance()).toEqual({ spentUsd: usd('2'), reservedUsd: 0n });
  });

  test('says in the ledger that an estimate proved right (XD9)', () => {
    model.decide(reserve('a', '6'));
    model.claim('a');
    model.decide(commit('a'));
    model.outcome('a', billed('6'));
    model.decide();
    expect(model.ledger).toMatchObject([
      { entry: 'commit', amountUsd: usd('6'), settlement: 'unverified' },
      { entry: 'correction', amountUsd: 0n, settlement: 'actual' },
    ]);
    expect(model.balance()).toEqual({ spentUsd: usd('6'), reservedUsd: 0n });
  });

  test('lets a released one that was claimed wait for its outcome', () => {
    model.decide(reserve('a', '6'));
    model.claim('a');
    model.decide(release('a'));
    expect(model.balance()).toEqual({ spentUsd: 0n, reservedUsd: usd('6') });
    model.outcome('a', { billed: false });
    model.decide();
    expect(model.reservations.get('a')).toMatchObject({ status: 'released' });
    expect(model.balance()).toEqual({ spentUsd: 0n, reservedUsd: 0n });
  });

  test('corrects an unverified charge when the cost becomes known, in the period of the charge', () => {
    model.decide(reserve('a', '6'));
    model.claim('a');
    model.decide(commit('a'));
    const postedAtMs = model.nowMs;
    model.nowMs = Date.UTC(2026, 11, 2);
    model.decide();
    model.outcome('a', billed('2'));
    model.decide();
    expect(model.ledger).toMatchObject([
      { entry: 'commit', amountUsd: usd('6'), postedAtMs },
      { entry: 'correction', amountUsd: usd('-4'), postedAtMs },
    ]);
    // December never saw the charge, so it does not see its correction.
    expect(model.balance()).toEqual({ spentUsd: 0n, reservedUsd: 0n });
  });

  test('records a cost above its grant in full, and flags it', () => {
    model.decide(reserve('a', '6'));
    model.claim('a');
    model.outcome('a', billed('12'));
    model.decide(commit('a'));
    expect(model.reservations.get('a')).toMatchObject({ committedUsd: usd('12'), overrunUsd: usd('6') });
    expect(decisions(reserve('b', '0.01'))).toEqual(['denied']);
  });

  test.each([
    ['was given back', [release('a')], 0],
    ['ran out', [], 61_000],
  ])('tells people of all of a cost that comes after its hold %s', (_how, commands, afterMs) => {
    model.decide(reserve('a', '6'));
    model.nowMs += afterMs;
    model.decide(...commands);
    // Told without a claim, as over HTTP.
    model.reservations.set('a', { ...(model.reservations.get('a') as Reservation), outcome: billed('5') });
    const { alerts } = model.decide();
    const overrun = { operationId: 'a', grantedUsd: 0n, costUsd: usd('5') };
    expect(alerts.filter(({ kind }) => kind === 'overrun')).toMatchObject([{ overrun }]);
  });

  test('grants what is left when the minimum fits', () => {
    model.decide(reserve('a', '7'));
    const [answer] = model.decide(reserve('b', '5', { minimumUsd: '2' })).answers;
    expect(answer).toMatchObject({ decision: 'granted', grantedUsd: '3', partial: true });
    expect(decisions(reserve('c', '5', { minimumUsd: '0.01' }))).toEqual(['denied']);
  });

  test('answers a repeat from the record and changes nothing', () => {
    const first = model.decide(reserve('a', '6'));
    const again = model.decide(reserve('a', '6', { replyTo: { workflowId: 'w', runId: 'r', activityId: '2' } }));
    expect(again.answers).toEqual(first.answers);
    expect([first.repeats.size, [...again.repeats]]).toEqual([0, again.answers]);
    expect(again.changes).toEqual([]);
    expect(model.balance().reservedUsd).toBe(usd('6'));
  });

  test('refuses another request under the same operation id', () => {
    model.decide(reserve('a', '6'));
    const { answers, repeats } = model.decide(reserve('a', '5'));
    expect(answers).toMatchObject([{ decision: 'rejected', code: 'operation_conflict' }]);
    expect(repeats.size).toBe(0);
    expect(model.balance().reservedUsd).toBe(usd('6'));
  });

  describe('of who may go away without its answer', () => {
    const by = (asker: string) => reserve('a', '6', { asker });
    const givenBackBy = (asker: string) => ({ ...release('a'), asker });

    test('a grant is given back when it has gone, and its repeat is not told of it', () => {
      model.decide(by('p.1'), by('p.1'));
      model.decide(givenBackBy('p.1'));
      expect(model.balance().reservedUsd).toBe(0n);
      expect(model.decide(by('p.1')).answers).toMatchObject([{ code: 'operation_released' }]);
    });

    test.each([
      ['the first', 'p.1', 'q.1'],
      ['the second', 'q.1', 'p.1'],
    ])('a grant that two were told of is not given back when %s goes, but when both have', (_who, goes, stays) => {
      model.decide(by('p.1'));
      expect(model.decide(by('q.1')).answers).toMatchObject([{ decision: 'granted', grantedUsd: '6' }]);
      model.decide(givenBackBy(goes), givenBackBy(goes), givenBackBy('r.1'));
      expect(model.balance().reservedUsd).toBe(usd('6'));
      model.decide(givenBackBy(stays));
      expect(model.balance().reservedUsd).toBe(0n);
    });

    test('whoever has it gives it back, whoever else was told', () => {
      model.decide(by('p.1'), by('q.1'), release('a'));
      expect(model.balance().reservedUsd).toBe(0n);
    });

    test('one that went and asks again is told of it again', () => {
      model.decide(by('p.1'), by('q.1'), givenBackBy('p.1'), by('p.1'), givenBackBy('q.1'));
      expect(model.balance().reservedUsd).toBe(usd('6'));
    });

    test('of more askers than are kept none gives it back by going', () => {
      const many = Array.from({ length: 9 }, (_one, index) => `p.${index}`);
      model.decide(...many.map(by), ...many.map(givenBackBy));
      expect(model.balance().reservedUsd).toBe(usd('6'));
      expect(model.reservations.get('a')?.asker).toBe('*');
    });

    test('one batch tells both, whatever comes with it', () => {
      const { answers } = model.decide(by('p.1'), by('q.1'), givenBackBy('p.1'));
      expect(answers).toMatchObject([{ grantedUsd: '6' }, { grantedUsd: '6' }]);
      expect(model.balance().reservedUsd).toBe(usd('6'));
    });

    test('a grant of a process of the version before is given back as it was', () => {
      model.decide(reserve('a', '6'), by('q.1'));
      model.decide(givenBackBy('p.1'));
      expect(model.balance().reservedUsd).toBe(0n);
    });
  });

  test('refuses a reserve that its release overtook', () => {
    model.decide(release('a'));
    expect(model.decide(reserve('a', '6')).answers).toMatchObject([
      { decision: 'rejected', code: 'operation_released' },
    ]);
    expect(model.balance().reservedUsd).toBe(0n);
  });

  test.each(['-1', 'NaN', 'Infinity', '1e3', '', '1000000000000000000000'])(
    'refuses the amount %j, and gives no credit (F9)',
    (amountUsd) => {
      expect(model.decide(reserve('a', amountUsd)).answers).toMatchObject([
        { decision: 'rejected', code: 'invalid_amount' },
      ]);
      expect(model.balance()).toEqual({ spentUsd: 0n, reservedUsd: 0n });
    },
  );

  test('goes by when a reservation runs out that was held for longer meanwhile', () => {
    model.decide(reserve('a', '6', { ttlSeconds: 60 }));
    model.extend('a', 10);
    model.nowMs = noon + 59_999;
    model.decide();
    expect(model.reservations.get('a')).toMatchObject({ status: 'granted', expiresAtMs: noon + 60_000 });
    model.extend('a', 100);
    model.nowMs = noon + 159_998;
    model.decide();
    expect(model.reservations.get('a')?.status).toBe('granted');
    model.nowMs = noon + 159_999;
    model.decide();
    expect(model.reservations.get('a')?.status).toBe('expired');
  });

  test('names the tightest of the quotas that apply, with its figures and its reset (F12)', () => {
    model = new BudgetModel(noon, [
      { limitUsd: '100' },
      { resourceType: 'llm', period: 'week', limitUsd: '20' },
      { scope: 'user', scopeId: 'ada', period: 'day', limitUsd: '5' },
      { scope: 'user', scopeId: 'bob', period: 'day', limitUsd: '1' },
      { resourceType: 'e2b', limitUsd: '1' },
    ]);
    model.decide(reserve('a', '3', { userId: 'ada' }));
    const [answer] = model.decide(reserve('b', '4', { userId: 'ada' })).answers;
    expect(answer).toMatchObject({
      decision: 'denied',
      quota: {
        scope: 'user',
        scopeId: 'ada',
        resourceType: 'all',
        period: 'day',
        limitUsd: '5',
        spentUsd: '0',
        reservedUsd: '3',
        remainingUsd: '2',
        estimatedUsd: '4',
        resetsAt: '2026-11-26T00:00:00.000Z',
      },
      // The hold of $3 runs out before the day does.
      retryAfterSeconds: 60,
    });
  });

  test('gives no time to come back for what no period can hold', () => {
    const [answer] = model.decide(reserve('a', '11')).answers;
    expect(answer).toMatchObject({ decision: 'denied' });
    expect(answer).not.toHaveProperty('retryAfterSeconds');
  });

  test('resets once at a period’s end, and carries open reservations over (F3)', () => {
    model = new BudgetModel(Date.UTC(2026, 10, 30, 23, 59, 59), [{ limitUsd: '10' }]);
    model.decide(reserve('a', '6', { ttlSeconds: 600 }));
    model.claim('a');
    model.nowMs = Date.UTC(2026, 11, 1);
    expect(decisions(reserve('b', '3'), reserve('c', '1'), reserve('d', '1'))).toEqual([
      'granted',
      'granted',
      'denied',
    ]);
    model.outcome('a', billed('6'));
    model.decide(commit('a'));
    expect(model.balance()).toEqual({ spentUsd: usd('6'), reservedUsd: usd('4') });
  });

  test('warns once per period at the threshold, and tells the first denial once (F11)', () => {
    for (const [index, cost] of ['7.9', '0.1', '1', '0.5'].entries()) {
      model.decide(reserve(`op${index}`, cost));
      model.claim(`op${index}`);
      model.outcome(`op${index}`, billed(cost));
      model.decide(commit(`op${index}`));
    }
    model.decide(reserve('x', '5'), reserve('y', '5'));
    expect(model.alerts.map(({ kind }) => kind)).toEqual(['quota_warning', 'quota_exceeded']);
    model.nowMs = Date.UTC(2026, 11, 3);
    model.decide(reserve('z', '9'));
    model.claim('z');
    model.outcome('z', billed('9'));
    model.decide(commit('z'));
    expect(model.alerts.map(({ kind }) => kind)).toEqual(['quota_warning', 'quota_exceeded', 'quota_warning']);
  });

  test('grants everything, and still records and alerts, where limits are not enforced', () => {
    model.enforced = { llm: false, e2b: true };
    expect(decisions(reserve('a', '25'), reserve('b', '1', { resource: 'e2b' }))).toEqual(['granted', 'denied']);
    expect(model.balance().reservedUsd).toBe(usd('25'));
    expect(model.alerts.map(({ kind }) => kind)).toEqual(['quota_exceeded']);
  });

  test('refuses where no quota covers the resource', () => {
    model = new BudgetModel(noon, [{ resourceType: 'e2b', limitUsd: '10' }]);
    expect(model.decide(reserve('a', '1')).answers).toMatchObject([{ decision: 'rejected', code: 'quota_missing' }]);
  });
});

describe("a lease of the platform's quota", () => {
  let model: BudgetModel;
  beforeEach(() => {
    model = new BudgetModel(noon, [{ limitUsd: '10' }, { scope: 'platform', scopeId: 'platform', limitUsd: '1' }]);
    Object.assign(model.quotas[1] ?? {}, { lease: { platformLimitUsd: usd('20'), exhausted: false } });
  });
  const exhaust = (freesAtMs?: number): void => {
    Object.assign(model.quotas[1] ?? {}, { lease: { platformLimitUsd: usd('20'), exhausted: true, freesAtMs } });
  };

  test('a reserve that it is too small for waits undecided, the others do not', () => {
    const { answers, leaseNeeds, reservations } = model.decide(reserve('a', '4'), reserve('b', '1'), reserve('c', '3'));
    expect(answers.map((answer) => answer?.decision)).toEqual([undefined, 'granted', undefined]);
    expect(leaseNeeds).toEqual([{ quotaId: 'quota-1', neededUsd: usd('7') }]);
    expect(reservations.map(({ operationId }) => operationId)).toEqual(['b']);
    expect(model.reservations.has('a')).toBe(false);
  });

  test('needs no more than the tenant may spend by its own quotas', () => {
    const { leaseNeeds } = model.decide(reserve('a', '8'), reserve('b', '8'));
    expect(leaseNeeds).toEqual([{ quotaId: 'quota-1', neededUsd: usd('10') }]);
    expect(model.decide(reserve('c', '11')).answers).toMatchObject([
      { decision: 'denied', quota: { scope: 'tenant' } },
    ]);
  });

  test('exhausted it denies, or grants in part, and says when another hold may make room', () => {
    exhaust(noon + 30_000);
    expect(model.decide(reserve('a', '4')).answers).toMatchObject([
      { decision: 'denied', quota: { scope: 'platform', remainingUsd: '1' }, retryAfterSeconds: 30 },
    ]);
    expect(model.decide(reserve('b', '4', { minimumUsd: '0.5' })).answers).toMatchObject([
      { decision: 'granted', grantedUsd: '1', partial: true },
    ]);
    // No alert of the tenant's: the platform's are raised where it is drawn from.
    expect(model.alerts).toEqual([]);
  });

  test('more than the platform may ever spend is never worth waiting for', () => {
    model.quotas[0] = { ...(model.quotas[0] as Quota), limitUsd: usd('100') };
    exhaust();
    const [answer] = model.decide(reserve('a', '21')).answers;
    expect(answer).toMatchObject({ decision: 'denied' });
    expect(answer).not.toHaveProperty('retryAfterSeconds');
  });

  test('does not bind where enforcement is off', () => {
    model.enforced = { llm: false, e2b: true };
    expect(model.decide(reserve('a', '4')).answers).toMatchObject([{ decision: 'granted', grantedUsd: '4' }]);
  });

  test('keeps only what is reserved when its period ends', () => {
    model.decide(reserve('a', '0.4', { ttlSeconds: 86_400 * 7 }));
    model.nowMs = model.quotas[1]?.periodEndMs ?? 0;
    model.decide({ type: 'reload' });
    expect(model.quotas[1]).toMatchObject({ limitUsd: usd('0.4'), reservedUsd: usd('0.4'), spentUsd: 0n });
  });
});
