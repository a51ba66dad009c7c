/** Decisions of the process that asks, as a clock shows them: what travels together, when it goes by signal, and when Postgres is looked at. */
import { DirectDecisions } from '../../../authority/client/direct-decisions';
import { decideBatch } from '../../../core/budget/decision';
import type { BudgetCommand } from '../../../core/budget/commands';
import type { Pace } from '../../../authority/client/promptness';
import type { RecordedBatch } from '../../../store/budget-batch';
import { createLog } from '../../../telemetry/log';
import { reserve } from '../../support/budget-model';
import { ManualClock, settle } from '../../support/manual-clock';

const idOf = (number: number): string => `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`;
const refusal = Object.assign(new Error('refused'), { code: '23514' });
const away = Object.assign(new Error('away'), { code: '57P01' });
const lockedOut = Object.assign(new Error('locked out'), { code: '55P03' });

/** A process, its clock, and a Postgres whose tenant has $10. */
function scene({
  leaves,
  takesMs = 2,
  due = 0,
}: { leaves?: 'now' | 'soon'; takesMs?: number; /** Decisions after which more is due. */ due?: number } = {}) {
  const clock = new ManualClock();
  const batches: string[] = [];
  const left: string[] = [];
  const postgres: { says: 'closed' | Error | undefined } = { says: undefined };
  const process: { pace: Pace } = { pace: 'prompt' };
  const direct = new DirectDecisions({
    clock,
    pace: () => process.pace,
    log: createLog({ name: 'test', level: 'silent' }),
    async decide(_tenantId, commands): Promise<RecordedBatch | 'closed'> {
      batches.push(`${clock.nowMs()}: ${commands.map(({ type }) => type).join(' ')}`);
      await new Promise<void>((resolve) => clock.after(takesMs, resolve));
      if (postgres.says instanceof Error) throw postgres.says;
      if (postgres.says) return postgres.says;
      const decision = decideBatch(
        { tenantId: 'acme', nowMs: 0, quotas: [], reservations: [], enforced: { llm: true, e2b: true } },
        commands,
      );
      const more = { ...(leaves ? { leaves } : {}), ...(batches.length <= due ? { moreDue: true } : {}) };
      return { decision, alertsDue: 0, moneyWaiters: false, ...more };
    },
    leave: (_tenantId, when) => void left.push(`${clock.nowMs()}: ${when}`),
  });
  const ask = (number: number): { by: string } => {
    const asked = { by: 'nobody yet' };
    void direct.decide('acme', reserve(idOf(number), '1')).then((decided) => {
      asked.by = decided?.answer ? `decided: ${decided.answer.decision}` : 'signal';
    });
    return asked;
  };
  return { clock, batches, left, postgres, process, direct, ask };
}

describe('direct decisions', () => {
  test('what comes together, and while one is under way, travels together', async () => {
    const { clock, batches, ask } = scene();
    const [first, second] = [ask(1), ask(2)];
    await clock.moveTo(1);
    const third = ask(3);
    const fourth = ask(4);
    await clock.moveTo(10);
    expect(batches).toEqual(['0: reserve reserve', '2: reserve reserve']);
    expect([first, second, third, fourth].map(({ by }) => by.split(':')[0])).toEqual(Array<string>(4).fill('decided'));
  });

  test.each<[string, 'closed' | Error, number]>([
    ['without a mandate', 'closed', 250],
    ['where Postgres is away', away, 5_000],
    ['where somebody holds the tenant', lockedOut, 200],
    ['what Postgres refuses, and nothing else,', refusal, 0],
  ])('%s it goes by signal, and Postgres is tried again after a while', async (_what, says, afterMs) => {
    const { clock, batches, postgres, ask } = scene();
    postgres.says = says;
    const first = ask(1);
    await clock.moveTo(2);
    expect(first.by).toBe('signal');
    const tries = batches.length;
    const next = ask(2);
    await settle();
    await settle();
    expect(batches.length - tries).toBe(afterMs === 0 ? 1 : 0);
    if (afterMs === 0) return;
    expect(next.by).toBe('signal');
    postgres.says = undefined;
    await clock.moveTo(2 + afterMs);
    const later = ask(3);
    await clock.moveTo(10 + afterMs);
    expect(later.by).toMatch(/^decided/);
  });

  test.each<Pace>(['far', 'standing'])(
    'a process that is %s decides nothing and folds nothing, until it is prompt',
    async (pace) => {
      const { clock, batches, process, direct, ask } = scene();
      process.pace = pace;
      const orElse = jest.fn();
      direct.look('acme', orElse);
      const first = ask(1);
      await clock.moveTo(10);
      expect([first.by, batches.length, orElse.mock.calls.length]).toEqual(['signal', 0, 1]);
      process.pace = 'prompt';
      const second = ask(2);
      await clock.moveTo(20);
      expect(second.by).toMatch(/^decided/);
    },
  );

  test.each<[Pace, string]>([
    ['far', 'decided: rejected'],
    ['standing', 'signal'],
  ])('one that is %s is answered so where its signal was not: %s', async (pace, by) => {
    const { clock, process, direct } = scene();
    process.pace = pace;
    const deciding = direct.decide('acme', reserve(idOf(1), '1'), { isOverdue: true });
    await clock.moveTo(10);
    const decided = await deciding;
    expect(decided?.answer ? `decided: ${decided.answer.decision}` : 'signal').toBe(by);
  });

  test('what waits behind a batch that found no mandate goes by signal at once', async () => {
    const { clock, batches, postgres, ask } = scene();
    postgres.says = 'closed';
    ask(1);
    await clock.moveTo(1);
    const behind = ask(2);
    await clock.moveTo(3);
    expect([behind.by, batches.length]).toEqual(['signal', 1]);
  });

  test('what was written is folded by the next decision, or a quarter of a second later by one of its own', async () => {
    const { clock, batches, direct, ask } = scene();
    const orElse = jest.fn();
    direct.look('acme', orElse);
    direct.look('acme', orElse);
    ask(1);
    await clock.moveTo(1_000);
    expect(batches).toEqual(['0: reserve']);
    direct.look('acme', orElse);
    await clock.moveTo(2_000);
    expect(batches).toEqual(['0: reserve', '1250: reload']);
    expect(orElse).not.toHaveBeenCalled();
  });

  test('what is due beyond one decision is settled by the next ones, at once, though nobody asks', async () => {
    const { clock, batches, ask } = scene({ due: 2 });
    ask(1);
    await clock.moveTo(100);
    expect(batches).toEqual(['0: reserve', '2: reload', '4: reload']);
  });

  test('a look that found no mandate is the authority’s', async () => {
    const { clock, left, postgres, direct, ask } = scene();
    postgres.says = 'closed';
    const orElse = jest.fn();
    direct.look('acme', orElse);
    // It would have been folded with this one.
    ask(1);
    await clock.moveTo(2);
    expect(left).toEqual(['2: soon']);
    direct.look('acme', orElse);
    expect(orElse).toHaveBeenCalledTimes(1);
  });

  test('tenants of which nothing is under way are forgotten, however it ended', async () => {
    const { clock, postgres, process, direct, ask } = scene();
    const orElse = jest.fn();
    /** Whether anything is kept of the tenant, when all that it goes by signal for is over. */
    const keptAfter = async (ms: number): Promise<number> => {
      await clock.moveTo(clock.nowMs() + ms);
      return direct.size;
    };
    ask(1);
    expect(await keptAfter(10)).toBe(0);
    for (const says of ['closed', lockedOut, away] as const) {
      postgres.says = says;
      ask(2);
      // It goes by signal for a while.
      expect(await keptAfter(10)).toBe(1);
      ask(3);
      expect(await keptAfter(10_000)).toBe(0);
    }
    // One that looks, and whose process is too far away by then.
    direct.look('acme', orElse);
    process.pace = 'far';
    expect(await keptAfter(1_000)).toBe(0);
    ask(4);
    direct.look('acme', orElse);
    expect(await keptAfter(1_000)).toBe(0);
    process.pace = 'prompt';
    ask(5);
    await clock.moveTo(clock.nowMs() + 10);
    direct.close();
    expect(clock.pending).toBe(0);
  });

  test('what a decision leaves is told, and at the end what was still to be looked at', async () => {
    const { clock, left, direct, ask } = scene({ leaves: 'now' });
    ask(1);
    await clock.moveTo(10);
    direct.look('acme', () => undefined);
    direct.close();
    expect(left).toEqual(['2: now', '10: soon']);
    const command: BudgetCommand = reserve(idOf(2), '1');
    expect(await direct.decide('acme', command)).toBeUndefined();
  });
});
