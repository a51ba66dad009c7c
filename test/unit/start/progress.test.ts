/** What `npm start` says while somebody waits, in a terminal and in a log. */
import { Progress } from '../../../scripts/start/progress';
import { Stops } from '../../../scripts/start/stops';

describe('XE15: what is waited for', () => {
  let said: string;
  const on = (isTTY: boolean): Progress => {
    const write = (text: string | Uint8Array): boolean => ((said += text.toString()), true);
    return new Progress({ json: false }, { write, isTTY, columns: 30 });
  };
  beforeEach(() => {
    said = '';
    jest.useFakeTimers();
  });
  afterEach(() => jest.useRealTimers());

  test('is shown in a terminal from the first moment, with its seconds, on one line, and below what is said meanwhile', () => {
    const progress = on(true);
    progress.waitFor('The model answers');
    expect(said).toBe('\r\u001b[K… The model answers');
    jest.advanceTimersByTime(2_000);
    progress.line('fetching it');
    expect(
      said.endsWith('\r\u001b[K… The model answers (2 s)\r\u001b[Kfetching it\n\r\u001b[K… The model answers (2 s)'),
    ).toBe(true);
    progress.waitFor('What has a name that is longer than the line');
    expect(said.split('\r\u001b[K').at(-1)).toHaveLength(29);
    progress.waitFor(undefined);
    const before = said;
    jest.advanceTimersByTime(60_000);
    expect(said).toBe(before);
  });

  test('is said in a log when it takes long, and again', () => {
    const progress = on(false);
    progress.waitFor('The worker');
    jest.advanceTimersByTime(9_000);
    expect(said).toBe('');
    jest.advanceTimersByTime(52_000);
    const lines = [10, 30, 60].map((seconds) => `… The worker: waited for ${seconds} s so far\n`);
    expect(said).toBe(lines.join(''));
  });

  test('is said at a stop too: which part has not ended yet', async () => {
    const stops = new Stops();
    stops.add('The worker', () => new Promise((resolve) => setTimeout(resolve, 12_000)), 20_000);
    const stopped = stops.run(on(false));
    await jest.advanceTimersByTimeAsync(12_000);
    await stopped;
    expect(said).toBe('… The worker ends: waited for 10 s so far\n');
  });
});
