import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { abortedAfter } from '../../../activities/own-time';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

describe('abortedAfter', () => {
  /** Nothing but what it is given to holds on to the signal, and memory is collected meanwhile. */
  async function abortOf(make: () => AbortSignal): Promise<unknown> {
    const collecting = setInterval(collectGarbage, 20);
    const abort = new Promise((resolve) => {
      const signal = make();
      signal.addEventListener('abort', () => resolve((signal.reason as Error).name));
    });
    const tooLate = new Promise((resolve) => setTimeout(resolve, 2_000, 'never').unref());
    return Promise.race([abort, tooLate]).finally(() => clearInterval(collecting));
  }

  test('its time is over although memory was collected meanwhile', async () => {
    expect(await abortOf(() => abortedAfter(200, new AbortController().signal))).toBe('TimeoutError');
    expect(await abortOf(() => abortedAfter(200))).toBe('TimeoutError');
  });

  test('the other signal is heard, at once where it has fired', async () => {
    const other = new AbortController();
    setTimeout(() => other.abort(), 100);
    expect(await abortOf(() => abortedAfter(60_000, other.signal))).toBe('AbortError');
    expect(abortedAfter(60_000, other.signal).aborted).toBe(true);
  });
});
