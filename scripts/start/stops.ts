/** What has to be stopped at the end: in the reverse order of its start, and each within its bound, whatever hangs. */
import type { Progress } from './progress';

interface Step {
  name: string;
  stop: () => unknown;
  maxMs: number;
}

export class Stops {
  private readonly steps: Step[] = [];

  add(name: string, stop: () => unknown, maxMs = 3_000): void {
    this.steps.push({ name, stop, maxMs });
  }

  /** Stops everything; what does not end in time is said, and goes with this process. */
  async run(progress: Progress): Promise<void> {
    for (let step = this.steps.pop(); step; step = this.steps.pop()) {
      const { name, stop, maxMs } = step;
      progress.waitFor(`${name} ends`);
      const isOver = await within(maxMs, async () => void (await stop())).catch(() => true);
      if (!isOver) progress.line(`${name} did not end within ${maxMs / 1000} s; going on without waiting for it.`);
    }
    progress.waitFor(undefined);
  }
}

/**
 * What is under way when a stop is asked for has this long to come to its end.
 * @throws Error with the message when it does not; it is not waited for any longer.
 */
export async function endingWith<T>(signal: AbortSignal, work: Promise<T>, message: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    const begin = (): void => void (timer = setTimeout(() => reject(new Error(message)), underWayMaxMs));
    if (signal.aborted) begin();
    else signal.addEventListener('abort', begin, { once: true });
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

const underWayMaxMs = 10_000;

/** Whether the work was done in time. It is not waited for any longer. */
async function within(maxMs: number, work: () => Promise<void>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => (timer = setTimeout(() => resolve(false), maxMs)));
  return Promise.race([work().then(() => true), late]).finally(() => clearTimeout(timer));
}
