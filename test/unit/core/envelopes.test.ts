/** What a part of an envelope is decided by: its rest, freezes and the limit of its run, and nothing that limits have left. */
import type { ReserveCommand } from '../../../core/budget/commands';
import type { Reservation } from '../../../core/budget/reservations';
import { asksTheSame } from '../../../core/budget/reservations';
import { formatUsd } from '../../../core/money';
import { BudgetModel, commit, release, reserve, usd } from '../../support/budget-model';

const nowMs = Date.UTC(2026, 0, 15, 12);
const envelope = (amountUsd: string, more: Partial<ReserveCommand> = {}): ReserveCommand =>
  reserve('envelope', amountUsd, { resource: 'all', ofResource: 'llm', envelopeOf: ['llm'], ttlSeconds: 600, ...more });
const part = (operationId: string, amountUsd: string, more: Partial<ReserveCommand> = {}): ReserveCommand =>
  reserve(operationId, amountUsd, { resource: 'all', ofResource: 'llm', parentOperationId: 'envelope', ...more });

test('two that ask for an envelope of the same resources ask for the same, in whatever order those are named', () => {
  expect(
    asksTheSame(envelope('6', { envelopeOf: ['llm', 'e2b'] }), envelope('6', { envelopeOf: ['e2b', 'llm'] })),
  ).toBe(true);
  expect(asksTheSame(envelope('6', { envelopeOf: ['llm', 'e2b'] }), envelope('6'))).toBe(false);
  expect(asksTheSame(envelope('6'), reserve('envelope', '6'))).toBe(false);
});

describe('a part of an envelope', () => {
  let model: BudgetModel;
  beforeEach(() => {
    model = new BudgetModel(nowMs, [{ limitUsd: '10' }]);
    model.decide(envelope('6'));
  });
  const restUsd = () => model.reservations.get('envelope')?.grantedUsd;

  test('is granted where the limits have nothing left, and where all that they have is kept for others', () => {
    model.decide(reserve('others', '4'));
    model.line = [{ waiterId: 'w', resource: 'llm', keptUsd: usd('100'), keptForMs: 1_000, isWoken: true }];
    const { answers, changes } = model.decide(part('one', '6'));
    expect(answers).toMatchObject([{ decision: 'granted', grantedUsd: '6', parentOperationId: 'envelope' }]);
    expect(changes.map(({ grant }) => grant)).toEqual([false, false]);
    expect([restUsd(), model.balance().reservedUsd]).toEqual([0n, usd('10')]);
  });

  test('is refused beyond the rest, and gets the rest where that is of use', () => {
    expect(model.decide(part('one', '7')).answers).toMatchObject([
      { decision: 'rejected', code: 'envelope_exceeded', message: expect.stringContaining('$6 is left') as string },
    ]);
    expect(model.decide(part('two', '7', { minimumUsd: '5' })).answers).toMatchObject([
      { grantedUsd: '6', partial: true },
    ]);
    // What it was told stands, also once there is room again.
    model.decide(release('two'));
    expect(model.decide(part('one', '7')).answers).toMatchObject([{ code: 'envelope_exceeded' }]);
  });

  test('is of the run of its envelope, where that has one', () => {
    model.decide(envelope('1', { operationId: 'of-run', runId: 'run' }));
    const ofRun = (operationId: string, more: Partial<ReserveCommand> = {}) =>
      model.decide(part(operationId, '1', { parentOperationId: 'of-run', ...more })).answers[0];
    const refusal = {
      code: 'envelope_refused',
      message: expect.stringContaining('it is of run, which its parts name') as string,
    };
    expect([ofRun('one'), ofRun('two', { runId: 'other' })]).toMatchObject([refusal, refusal]);
    expect(ofRun('three', { orBeyond: true })).toMatchObject({ decision: 'granted' });
    expect(model.reservations.get('three')?.request?.parentId).toBeUndefined();
    expect(ofRun('four', { runId: 'run' })).toMatchObject({ decision: 'granted', parentOperationId: 'of-run' });
    // One that is of no run is for whatever its caller does.
    expect(model.decide(part('five', '1', { runId: 'other' })).answers).toMatchObject([{ decision: 'granted' }]);
  });

  test('is refused while its payer is frozen, and by the limit of its run, which the envelope does not count for', () => {
    model.addRunLimit('run', '2');
    expect(model.runLimits[0]?.reservedUsd).toBe(0n);
    expect(model.decide(part('one', '3', { runLimit: { id: 'run' } })).answers).toMatchObject([
      { decision: 'rejected', code: 'run_limit_exceeded' },
    ]);
    expect(model.decide(part('two', '2', { runLimit: { id: 'run' } })).answers).toMatchObject([
      { decision: 'granted' },
    ]);
    expect(model.runLimits[0]?.reservedUsd).toBe(usd('2'));
    expect(model.decide(envelope('1', { operationId: 'other', runLimit: { id: 'run' } })).answers).toMatchObject([
      { code: 'run_limit_exceeded' },
    ]);
    model.frozen = 'a test';
    expect(model.decide(part('three', '1')).answers).toMatchObject([{ decision: 'rejected', code: 'budget_frozen' }]);
  });

  test('that may ask beyond it prefers all from the envelope, then from the limits, then what is left of the envelope', () => {
    const beyond = { orBeyond: true };
    expect(model.decide(part('one', '4', beyond)).answers).toMatchObject([{ parentOperationId: 'envelope' }]);
    // $2 are in the envelope, $4 in the limit.
    const [ordinary] = model.decide(part('two', '3', { ...beyond, minimumUsd: '1' })).answers;
    expect(ordinary).toMatchObject({ decision: 'granted', grantedUsd: '3', partial: false });
    expect(ordinary).not.toHaveProperty('parentOperationId');
    expect(model.decide(part('three', '3', { ...beyond, minimumUsd: '1' })).answers).toMatchObject([
      { grantedUsd: '1', partial: true },
    ]);
    expect(model.decide(part('four', '3', { ...beyond, minimumUsd: '1' })).answers).toMatchObject([
      { grantedUsd: '2', partial: true, parentOperationId: 'envelope' },
    ]);
    expect(model.decide(part('five', '1', beyond)).answers).toMatchObject([{ decision: 'denied' }]);
    // Each is answered again as it was.
    expect(model.decide(part('two', '3', { ...beyond, minimumUsd: '1' })).answers).toEqual([ordinary]);
    model.decide(release('envelope'), release('one'));
    expect(model.decide(part('six', '4', beyond)).answers).toMatchObject([{ decision: 'granted', partial: false }]);
  });

  test('gives back what it did not need while the envelope is open, and to the limits afterwards', () => {
    model.decide(part('one', '2'), part('two', '3'));
    model.claim('one');
    model.outcome('one', { billed: true, costUsd: usd('0.5') });
    model.decide(commit('one'));
    expect(restUsd()).toBe(usd('2.5'));
    model.decide(commit('envelope'), release('envelope'), release('two'));
    expect(model.reservations.get('envelope')).toMatchObject({ status: 'released', envelopeUsd: usd('6') });
    expect(model.balance()).toEqual({ spentUsd: usd('0.5'), reservedUsd: 0n });
  });

  test.each([
    ['before', ['one', 'envelope'], '3.5'],
    ['after', ['envelope', 'one'], '4'],
  ])(
    'takes what it cost beyond its grant from its envelope where it was told %s that was given back',
    (_, told, restUsd) => {
      model.decide(part('one', '2'));
      for (const id of told) model.claim(id);
      for (const id of told)
        model.outcome(id, id === 'one' ? { billed: true, costUsd: usd('2.5') } : { billed: false });
      // As Postgres hands them over.
      const due = told.map((id) => model.reservations.get(id) as Reservation);
      for (const { operationId } of due) model.reservations.delete(operationId);
      for (const reservation of due) model.reservations.set(reservation.operationId, reservation);
      model.decide(release('nothing'));
      expect(model.reservations.get('envelope')).toMatchObject({ status: 'released', grantedUsd: usd(restUsd) });
      expect(model.balance()).toEqual({ spentUsd: usd('2.5'), reservedUsd: 0n });
    },
  );

  test('moves money without a moment between in which it was given back: what is held of a top-up that has expired stays so', () => {
    const hour = 3_600_000;
    model = new BudgetModel(nowMs, [
      { limitUsd: '10', period: 'day', topUps: [{ amountUsd: '5', expiresAfterMs: hour }] },
    ]);
    model.decide(envelope('15', { ttlSeconds: 86_400 }));
    model.nowMs += 2 * hour;
    const stands = () => [model.quotas[0]?.limitUsd, model.balance().reservedUsd].map((of) => formatUsd(of ?? 0n));
    model.decide(part('one', '5', { ttlSeconds: 86_400 }));
    expect(stands()).toEqual(['15', '15']);
    model.decide(part('two', '2', { ttlSeconds: 86_400 }), release('one'));
    expect(stands()).toEqual(['15', '15']);
    // Beyond its grant, from what its envelope has left.
    model.claim('two');
    model.outcome('two', { billed: true, costUsd: usd('4') });
    model.decide(commit('two'));
    expect(stands()).toEqual(['15', '11']);
    model.decide(release('envelope'));
    expect(stands()).toEqual(['10', '0']);
  });

  test('prolongs its envelope where it says so, and never shortens it', () => {
    const expiresAtMs = () => model.reservations.get('envelope')?.expiresAtMs;
    model.decide(part('one', '1', { parentTtlSeconds: 60 }));
    expect(expiresAtMs()).toBe(nowMs + 600_000);
    model.decide(part('two', '1', { parentTtlSeconds: 3_600 }));
    expect(expiresAtMs()).toBe(nowMs + 3_600_000);
  });

  test('and its envelope are refused, and not recorded, by a database of the version before; one that may ask beyond it is asked of the limits', () => {
    const before = new BudgetModel(nowMs, [{ limitUsd: '10' }]);
    const state = { ...before.state(), hasNoEnvelopes: true };
    jest.spyOn(before, 'state').mockReturnValue(state);
    const { answers, reservations } = before.decide(
      envelope('1'),
      part('one', '1'),
      part('two', '1', { orBeyond: true }),
    );
    expect(answers).toMatchObject([
      { code: 'invalid_request', message: expect.stringContaining('hold envelopes') as string },
      { code: 'invalid_request' },
      { decision: 'granted' },
    ]);
    expect(reservations.map(({ operationId }) => operationId)).toEqual(['two']);
  });
});

describe('a denial beside an envelope of $10 for a day', () => {
  const day = 86_400;
  let model: BudgetModel;
  beforeEach(() => {
    model = new BudgetModel(nowMs, [{ limitUsd: '10' }]);
  });
  const denied = (): unknown => model.decide(reserve(`other-${model.reservations.size}`, '5')).answers[0];
  const at = (retryAfterSeconds: number): unknown => expect.objectContaining({ decision: 'denied', retryAfterSeconds });

  test('says when that runs out, whatever becomes of a part: what it gives back is its envelope’s', () => {
    model.decide(envelope('10', { ttlSeconds: day }), part('one', '9', { ttlSeconds: 300 }));
    expect(denied()).toEqual(at(day));
    model.claim('one');
    expect(denied()).toEqual(at(day));
    model.decide(release('one'));
    model.nowMs += 1_000;
    model.decide(part('two', '9', { ttlSeconds: 300 }), release('two'));
    expect(denied()).toEqual(at(day - 1));
  });

  test('says when the part runs out that outlasts it, and that of one that has ended already', () => {
    model.decide(envelope('10', { ttlSeconds: 600 }), part('one', '9', { ttlSeconds: day }));
    expect(denied()).toEqual(at(day));
    model.decide(release('envelope'));
    expect(denied()).toEqual(at(day));
    model.claim('one');
    // A call under way, of no open envelope.
    expect(denied()).toEqual(at(10));
  });

  test('says soon where it is a run’s, which ends with that, and the part too', () => {
    model.decide(envelope('10', { ttlSeconds: day, attempt: 1 }), part('one', '9', { ttlSeconds: 300, attempt: 1 }));
    expect(denied()).toEqual(at(10));
    model.claim('one');
    expect(denied()).toEqual(at(10));
  });

  test('says what of what is reserved is in it', () => {
    model.decide(envelope('6', { ttlSeconds: day }), part('one', '2'), reserve('call', '3'));
    const words = expect.stringContaining('($0 spent, $9 reserved, $6 of it in envelopes)') as unknown;
    expect(denied()).toMatchObject({ message: words });
  });
});
