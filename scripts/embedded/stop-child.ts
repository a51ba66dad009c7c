/** Ends a child process within a bound. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';

/** How it is asked, and how long it may take to obey. */
export type StopStep = { forMs: number } & ({ signal: NodeJS.Signals } | { ask: () => unknown });

/** Asks it to end, more firmly each time; at last it is killed. */
export async function stopChild(child: ChildProcess, steps: readonly StopStep[]): Promise<void> {
  for (const step of [...steps, { signal: 'SIGKILL' as const, forMs: 5_000 }]) {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
    const ended = once(child, 'exit');
    if ('signal' in step) child.kill(step.signal);
    else if (child.connected) step.ask();
    const waited = new AbortController();
    await Promise.race([ended, sleep(step.forMs, undefined, { signal: waited.signal }).catch(() => undefined)]);
    waited.abort();
  }
}
