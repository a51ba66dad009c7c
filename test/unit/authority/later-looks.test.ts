/** When the lines of those that wait for money are looked at again. */
import { laterLooks } from '../../../authority/later-looks';
import { createLog } from '../../../telemetry/log';

describe('looks at a line', () => {
  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => void jest.useRealTimers());

  /** Looks that fail so many times and are then due so much later, and when each was taken. */
  function scene({ failures = 0, againMs }: { failures?: number; againMs?: number } = {}) {
    const beganMs = Date.now();
    const atMs: number[] = [];
    const looks = laterLooks(
      () => {
        atMs.push(Date.now() - beganMs);
        return atMs.length <= failures ? Promise.reject(new Error('away')) : Promise.resolve(againMs);
      },
      createLog({ name: 'test', level: 'silent' }),
    );
    return { atMs, looks };
  }

  test('come when they are due, and a newer plan takes the place of an older one', async () => {
    const { atMs, looks } = scene();
    looks.plan('acme', 5_000);
    looks.plan('acme', 3_000);
    looks.plan('other', 4_000);
    await jest.advanceTimersByTimeAsync(60_000);
    expect(atMs).toEqual([3_000, 4_000]);
  });

  test('that fail are taken again after pauses that double, and then go on as before', async () => {
    const { atMs, looks } = scene({ failures: 2, againMs: 20_000 });
    looks.plan('acme', 100);
    await jest.advanceTimersByTimeAsync(30_000);
    expect(atMs).toEqual([100, 1_100, 3_100, 23_100]);
  });

  test('that go on failing are left to upkeep after half a minute', async () => {
    const { atMs, looks } = scene({ failures: 100 });
    looks.plan('acme', 0);
    await jest.advanceTimersByTimeAsync(600_000);
    expect(atMs).toEqual([0, 1_000, 3_000, 7_000, 15_000, 31_000]);
  });
});
