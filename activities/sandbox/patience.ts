/** Asking a sandbox provider again while it is ill for a moment. */
import { setTimeout as sleep } from 'node:timers/promises';
import { mayPass } from './provider-errors';

/** First and longest pause between two tries. */
const pauseMs = 500;
const pauseMsMax = 4_000;

/** Asks the provider again for so long, while it does not say no. @throws the last error. */
export async function patiently<T>(
  ask: () => Promise<T>,
  { forMs, when = mayPass }: { forMs: number; when?: (error: unknown) => boolean },
): Promise<T> {
  const untilMs = performance.now() + forMs;
  for (let waitMs = pauseMs; ; waitMs = Math.min(2 * waitMs, pauseMsMax)) {
    try {
      return await ask();
    } catch (error) {
      if (!when(error) || performance.now() + waitMs > untilMs) throw error;
    }
    await sleep(waitMs);
  }
}
