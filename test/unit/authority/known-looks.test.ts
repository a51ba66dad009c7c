/** Looking whether operations are known, together, by a clock of the test's. */
import { KnownLooks } from '../../../authority/client/known-looks';
import { ManualClock } from '../../support/manual-clock';

describe('looks for operations', () => {
  const known = new Set<string>();
  const asked: string[][] = [];
  let clock: ManualClock;
  let looks: KnownLooks;
  beforeEach(() => {
    known.clear();
    asked.length = 0;
    clock = new ManualClock();
    looks = new KnownLooks((_tenant, operationIds) => {
      asked.push([...operationIds]);
      return Promise.resolve(new Set(operationIds.filter((id) => known.has(id))));
    }, clock);
  });

  test('are one for all that a tenant waits for, until each is known', async () => {
    const answers = [looks.wait('acme', 'a', 5_000), looks.wait('acme', 'b', 5_000), looks.wait('acme', 'a', 5_000)];
    known.add('a');
    await clock.moveTo(clock.nowMs() + 30);
    known.add('b');
    await clock.moveTo(clock.nowMs() + 30);
    expect(await Promise.all(answers)).toEqual([true, true, true]);
    await clock.moveTo(1_000);
    expect(asked).toEqual([['a', 'b'], ['b']]);
  });

  test('end when their time is over', async () => {
    const answer = looks.wait('acme', 'a', 100);
    await clock.moveTo(200);
    expect(await answer).toBe(false);
    expect(asked.length).toBeLessThan(6);
  });

  test('end where Postgres cannot be asked, and begin anew', async () => {
    let isAway = true;
    looks = new KnownLooks(() => (isAway ? Promise.reject(new Error('away')) : Promise.resolve(new Set(['a']))), clock);
    const first = looks.wait('acme', 'a', 5_000);
    await clock.moveTo(clock.nowMs() + 30);
    expect(await first).toBe(false);
    isAway = false;
    const second = looks.wait('acme', 'a', 5_000);
    await clock.moveTo(clock.nowMs() + 30);
    expect(await second).toBe(true);
  });
});
