/** The last resort of a process that is to stop: it ends, whatever in it does not. */
import type { Logger } from './log';

/** From now on the process has this long to end by itself. */
export function endWithin(ms: number, log: Logger): void {
  setTimeout(() => {
    log.error(`something did not end within ${ms / 1000} s; this process ends without it`);
    process.exit(1);
  }, ms).unref();
}
