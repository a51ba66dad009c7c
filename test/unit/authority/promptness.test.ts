/** Whether a process may decide, as a clock shows it: by its way to Postgres and by its event loop. */
import { Promptness, type RoundTrip } from '../../../authority/client/promptness';
import { ManualClock } from '../../support/manual-clock';

/** A process that asks four times a second, whose way is as long as is said. */
function scene() {
  const clock = new ManualClock();
  let lateMs = 0;
  const way: { is: RoundTrip | Error } = { is: { tookMs: 1, waitedMs: 1 } };
  const changes: string[] = [];
  const measured: number[] = [];
  const promptness = new Promptness({
    clock: { nowMs: () => clock.nowMs() + lateMs, after: (ms, callBack) => clock.after(ms, callBack) },
    measure: () => {
      measured.push(clock.nowMs());
      return way.is instanceof Error ? Promise.reject(way.is) : Promise.resolve(way.is);
    },
    changed: (pace, wayMs) => void changes.push(`${pace} ${wayMs}`),
  });
  const askFor = async (seconds: number): Promise<string> => {
    const fromMs = clock.nowMs();
    for (let at = 250; at <= seconds * 1_000; at += 250) {
      promptness.ask();
      await clock.moveTo(fromMs + at);
    }
    return promptness.ask();
  };
  /** A round trip that takes so long, in which the event loop has nothing else to do. */
  const trip = (ms: number): RoundTrip => ({ tookMs: ms, waitedMs: ms });
  const stand = (ms: number): void => void (lateMs += ms);
  return { clock, way, changes, measured, promptness, askFor, trip, stand };
}

describe('a process', () => {
  test('is far when each of its last nine round trips took more than 5 ms, and near again when one takes less than 3', async () => {
    const { way, changes, askFor, trip } = scene();
    expect(await askFor(10)).toBe('prompt');
    way.is = trip(5.1);
    expect(await askFor(8)).toBe('prompt');
    expect(await askFor(2)).toBe('far');
    // Between the two limits it stays as it is.
    way.is = trip(4);
    expect(await askFor(20)).toBe('far');
    way.is = trip(2.9);
    expect(await askFor(2)).toBe('prompt');
    way.is = trip(4);
    expect(await askFor(20)).toBe('prompt');
    expect(changes).toEqual(['far 5.1', 'prompt 2.9']);
  });

  test('is not far by single round trips, by those that fail, or by those in which it was busy itself', async () => {
    const { way, changes, askFor, trip } = scene();
    expect(await askFor(10)).toBe('prompt');
    for (let time = 0; time < 4; time += 1) {
      way.is = trip(50);
      await askFor(1);
      way.is = trip(1);
      await askFor(2);
    }
    way.is = new Error('away');
    await askFor(20);
    way.is = { tookMs: 40, waitedMs: 10 };
    expect(await askFor(20)).toBe('prompt');
    // A machine that is busy: most round trips wait for a processor.
    for (let time = 0; time < 4; time += 1) {
      way.is = trip(12);
      await askFor(6);
      way.is = trip(2);
      await askFor(1);
    }
    expect(changes).toEqual([]);
  });

  test('whose event loop stood still is not trusted for five seconds, each time', async () => {
    const { changes, promptness, askFor, stand } = scene();
    await askFor(1);
    stand(400);
    expect(await askFor(1)).toBe('prompt');
    stand(600);
    // Before its timer has come.
    expect(promptness.ask()).toBe('standing');
    expect(await askFor(1)).toBe('standing');
    expect(await askFor(3)).toBe('standing');
    stand(3_000);
    expect(await askFor(4)).toBe('standing');
    expect(await askFor(2)).toBe('prompt');
    expect(changes.map((change) => change.split(' ')[0])).toEqual(['standing', 'prompt']);
  });

  test('measures once a second while somebody asks, and leaves nothing behind that goes on', async () => {
    const { clock, measured, promptness, askFor } = scene();
    await askFor(3);
    expect(measured).toEqual([0, 1_000, 2_000, 3_000]);
    await clock.moveTo(60_000);
    expect([measured.length, clock.pending]).toEqual([4, 0]);
    promptness.ask();
    promptness.close();
    expect(clock.pending).toBe(0);
  });
});
