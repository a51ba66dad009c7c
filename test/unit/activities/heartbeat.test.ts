import { MockActivityEnvironment } from '@temporalio/testing';
import { beatEveryMs, withHeartbeats } from '../../../activities/heartbeat';

describe('heartbeats', () => {
  test('follow the timeout: three fit into it, and there is one every five seconds at most', () => {
    expect(beatEveryMs(15_000)).toBe(5_000);
    expect(beatEveryMs(60_000)).toBe(5_000);
    expect(beatEveryMs(10_000)).toBeLessThan(3_400);
    expect(beatEveryMs(undefined)).toBe(5_000);
    expect(beatEveryMs(0)).toBe(5_000);
  });

  test('beat while the work lasts, and no longer', async () => {
    const environment = new MockActivityEnvironment({ heartbeatTimeoutMs: 60 });
    let beats = 0;
    environment.on('heartbeat', () => (beats += 1));
    const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
    await environment.run(() =>
      withHeartbeats(async () => {
        while (beats < 3) await sleep(5);
      }),
    );
    const before = beats;
    await sleep(100);
    expect(beats).toBe(before);
  });
});
