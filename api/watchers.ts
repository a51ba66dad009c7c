/** Who watches runs in this process, and waking them when something of their run is new: one LISTEN for all. */
import { listenTo, type Listener } from '../store/listener';
import type { Pool } from '../store/pool';
import { deltaChannel } from '../store/reply-deltas';

export class Watchers {
  private readonly wakers = new Map<string, Set<() => void>>();
  private listener: Listener | undefined;

  constructor(private readonly pool: Pool) {}

  /** Begins to watch a run. */
  watch(runId: string): Watch {
    this.listener ??= listenTo(this.pool, { channel: deltaChannel, onPayload: (payload) => this.wake(payload) });
    const watch = new Watch(() => {
      const left = this.wakers.get(runId);
      left?.delete(watch.wake);
      if (left?.size === 0) this.wakers.delete(runId);
    });
    this.wakers.set(runId, (this.wakers.get(runId) ?? new Set()).add(watch.wake));
    return watch;
  }

  async close(): Promise<void> {
    await this.listener?.stop();
  }

  private wake(runId: string): void {
    for (const wake of this.wakers.get(runId) ?? []) wake();
  }
}

export class Watch {
  private isNew = false;
  private resolve: (() => void) | undefined;

  constructor(readonly end: () => void) {}

  readonly wake = (): void => {
    this.isNew = true;
    this.resolve?.();
  };

  /** Resolves when something is new since the last call, when the time is over, or when the signal says so. */
  async next(timeoutMs: number, signal: AbortSignal): Promise<void> {
    if (!this.isNew && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const over = (): void => {
          clearTimeout(timer);
          signal.removeEventListener('abort', over);
          resolve();
        };
        const timer = setTimeout(over, timeoutMs);
        signal.addEventListener('abort', over);
        this.resolve = over;
      });
    }
    this.resolve = undefined;
    this.isNew = false;
  }
}
