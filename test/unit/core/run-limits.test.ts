/** Limits of runs in a decision: what a run and all that belongs to it may cost, whoever asks. */
import type { RunLimitRef } from '../../../core/budget/commands';
import { limitsAsked } from '../../../core/budget/run-limits';
import { readCommand } from '../../../core/inputs/read-command';
import { BudgetModel, commit, release, reserve, usd } from '../../support/budget-model';

describe("a run's limit", () => {
  let model: BudgetModel;
  beforeEach(() => {
    model = new BudgetModel(Date.UTC(2026, 10, 28), [{ limitUsd: '100' }]);
  });
  const ask = (id: string, amountUsd: string, runId: string, more: object = {}) =>
    reserve(id, amountUsd, { runLimit: { id: runId }, ...more });
  const told = (...commands: Parameters<BudgetModel['decide']>): string[] =>
    model.decide(...commands).answers.map((answer) => {
      if (answer?.decision === 'granted') return `${answer.grantedUsd}${answer.countsForRun ? ' of the run' : ''}`;
      return answer && 'code' in answer ? answer.code : 'denied';
    });
  const balance = (runId: string) => {
    const { spentUsd, reservedUsd } = model.runLimits.find((limit) => limit.runId === runId) ?? {};
    return { spentUsd, reservedUsd };
  };

  test('of $1.00 admits two of three children at $0.40 at once, however they ask', () => {
    model.addRunLimit('run', '1');
    for (const child of ['a', 'b', 'c']) model.addRunLimit(child, undefined, 'run');
    expect(told(ask('1', '0.4', 'a'), ask('2', '0.4', 'b'), ask('3', '0.4', 'c'))).toEqual([
      '0.4 of the run',
      '0.4 of the run',
      'run_limit_exceeded',
    ]);
    expect(model.reservations.get('3')?.refusal).toMatchObject({
      message:
        '$0.2 is left of the limit of the run run, to which it belongs, of $1 ($0 spent, $0.8 reserved), $0.8 of it is held by calls under way and may come back; $0.4 was asked for. Nothing was reserved.',
    });
    expect(balance('run')).toEqual({ spentUsd: 0n, reservedUsd: usd('0.8') });
    expect(balance('c')).toEqual({ spentUsd: 0n, reservedUsd: 0n });
    // A caller that names the run itself finds the same.
    expect(told(ask('4', '0.3', 'run', { minimumUsd: '0.1' }))).toEqual(['0.2 of the run']);
  });

  test('counts what was committed, corrected or overrun, not what was held', () => {
    model.addRunLimit('run', '1');
    model.decide(ask('held', '0.9', 'run'), ask('unused', '0.1', 'run'));
    model.claim('held');
    model.outcome('held', { billed: true, costUsd: usd('0.05') });
    model.decide(commit('held'), release('unused'));
    expect(balance('run')).toEqual({ spentUsd: usd('0.05'), reservedUsd: 0n });
    expect(told(ask('next', '0.95', 'run'))).toEqual(['0.95 of the run']);
    model.claim('next');
    model.nowMs += 60_000;
    model.decide();
    expect(balance('run')).toEqual({ spentUsd: usd('1'), reservedUsd: 0n });
    model.outcome('next', { billed: true, costUsd: usd('2') });
    model.decide();
    expect(balance('run')).toEqual({ spentUsd: usd('2.05'), reservedUsd: 0n });
    expect(told(ask('more', '0.01', 'run'))).toEqual(['run_limit_exceeded']);
    expect(model.reservations.get('more')?.refusal).toMatchObject({
      message: expect.stringContaining("Nothing is left of the run's own limit of $1 ($2.05 spent") as string,
    });
  });

  test('that only what is held stands in the way of says so, and when to ask again; one that is spent does not', () => {
    model.addRunLimit('run', '1');
    model.addRunLimit('child', '0.5', 'run');
    model.decide(ask('paid', '0.2', 'child'), ask('held', '0.7', 'run'));
    model.claim('paid');
    model.outcome('paid', { billed: true, costUsd: usd('0.2') });
    model.decide(commit('paid'));
    const refused = (id: string, amountUsd: string, runId: string, more: object = {}) =>
      model.decide(ask(id, amountUsd, runId, more)).answers[0];
    // The run has $0.8 that is not spent, and its child $0.3.
    expect(refused('a', '0.8', 'run')).toMatchObject({ retryAfterSeconds: 10, leftWithoutHoldsUsd: '0.8' });
    expect(refused('b', '0.3', 'child')).toMatchObject({
      ...{ retryAfterSeconds: 10, leftWithoutHoldsUsd: '0.3' },
      message: expect.stringContaining('$0.7 of it is held by calls under way and may come back') as string,
    });
    expect(refused('c', '0.9', 'child', { minimumUsd: '0.3' })).toMatchObject({ retryAfterSeconds: 10 });
    // More than is left of what is not spent: of its own limit, though the run's has less now.
    for (const [id, amountUsd, runId, whose] of [
      ['d', '0.800000000001', 'run', "the run's own limit of $1"],
      ['e', '0.300000000001', 'child', "the run's own limit of $0.5 ($0.2 spent"],
    ] as const) {
      const answer = refused(id, amountUsd, runId);
      expect(answer).toMatchObject({ message: expect.stringContaining(whose) as string });
      expect(answer).not.toHaveProperty('retryAfterSeconds');
      expect(answer).not.toHaveProperty('leftWithoutHoldsUsd');
    }
    // The same from the record.
    expect(refused('a', '0.8', 'run')).toMatchObject({ retryAfterSeconds: 10, leftWithoutHoldsUsd: '0.8' });
    model.decide(release('held'));
    expect(told(ask('again', '0.3', 'child'))).toEqual(['0.3 of the run']);
  });

  test('and the quotas bind together, each for itself', () => {
    model = new BudgetModel(model.nowMs, [{ limitUsd: '0.5' }]);
    model.addRunLimit('run', '1');
    expect(told(ask('a', '0.8', 'run'))).toEqual(['denied']);
    expect(told(ask('b', '2', 'run', { minimumUsd: '0.1', prefersWhole: true }))).toEqual(['0.5 of the run']);
    expect(balance('run')).toEqual({ spentUsd: 0n, reservedUsd: usd('0.5') });
    model.enforced = { llm: false, e2b: false };
    expect(told(ask('c', '0.6', 'run'), ask('d', '0.4', 'run'))).toEqual(['run_limit_exceeded', '0.4 of the run']);
  });

  test('and the parent of a run never change', () => {
    model.addRunLimit('run', '1');
    model.addRunLimit('child', '0.5', 'run');
    const bring = (id: string, runLimit: NonNullable<Parameters<typeof reserve>[2]>['runLimit']) =>
      told(reserve(id, '0.1', runLimit ? { runLimit } : {}))[0];
    expect(bring('a', { id: 'child', limitUsd: '0.50', parentId: 'run' })).toBe('0.1 of the run');
    expect(bring('b', { id: 'child', limitUsd: '0.6' })).toBe('run_limit_conflict');
    expect(bring('c', { id: 'child', parentId: 'child' })).toBe('run_limit_conflict');
    expect(bring('d', { id: 'other', parentId: 'nobody' })).toBe('run_parent_refused');
    expect(bring('e', { id: 'run', limitUsd: 'much' })).toBe('invalid_amount');
    // One that nobody limited is not bound, and one whose limit was not put on record binds nobody.
    expect(bring('f', { id: 'nobody' })).toBe('0.1');
    expect(bring('g', { id: 'nobody', limitUsd: '1' })).toBe('run_limit_conflict');
  });

  test('and whoever brings another is told what to do', () => {
    model.addRunLimit('run', '1');
    const message = (id: string, runLimit: RunLimitRef): unknown => {
      model.decide(reserve(id, '0.1', { runLimit }));
      return model.reservations.get(id)?.refusal;
    };
    expect(message('a', { id: 'run', limitUsd: '0.5' })).toMatchObject({
      message:
        'The run run has a limit of $1, not one of $0.5. It stands: ask with that one or with none, or start under another run id, which counts anew. Nothing was reserved.',
    });
    expect(message('b', { id: 'run', parentId: 'run' })).toMatchObject({
      message:
        'The run run belongs to no other, not to run. That stands: a child spends as its parent (by its runId) or as a run of its own (by parentRunId), not as both. Nothing was reserved.',
    });
  });

  test('comes once as each brings it, and never what is no amount', () => {
    const of = (runLimit: RunLimitRef) => reserve('a', '1', { runLimit });
    const [named, first, second] = [{ id: 'a' }, { id: 'a', limitUsd: '1' }, { id: 'a', limitUsd: '2' }];
    expect(limitsAsked([named, first, second, first, { id: 'b', limitUsd: '-' }].map(of))).toEqual([
      named,
      first,
      second,
    ]);
  });

  test('is read in the one spelling of its ids, and is refused where it has none', () => {
    const id = 'ABCDEF00-AAAA-4BBB-8CCC-DDDDDDDDDDD0';
    const came = (runLimit: unknown) => readCommand({ ...reserve(id, '1'), runLimit });
    expect(came({ id, limitUsd: '1', parentId: null })).toMatchObject({
      command: { runLimit: { id: id.toLowerCase(), limitUsd: '1' } },
    });
    for (const wrong of [{}, 'run', { id, limitUsd: 1 }, { id, parentId: 'x' }])
      expect(came(wrong)).toMatchObject({ problem: 'its runLimit cannot be used' });
  });
});
