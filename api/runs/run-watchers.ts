/**
 * Who watches runs in this process, and waking them when something of their run is new: one LISTEN for all tells of events and of pieces
 * of replies. What it was not told of, one look for all the watched runs of a tenant finds.
 */
import { listenTo, type Listener } from '../../store/listener';
import type { Pool } from '../../store/pool';
import { watchChannel } from '../../store/run-tells';
import { lastSequences } from '../../store/runs';

/** How often it is looked by itself, in milliseconds: while it is told what is new, and while its listener is not connected. */
export interface RunLooks {
  toldMs: number;
  untoldMs: number;
}
const runLooks: RunLooks = { toldMs: 10_000, untoldMs: 500 };

export interface WatchedRun {
  tenantId: string;
  runId: string;
}

interface Watched {
  tenantId: string;
  wakers: Set<() => void>;
  sequence: number;
}

export class RunWatchers {
  private readonly watched = new Map<string, Watched>();
  private listener: Listener | undefined;
  private looking: Promise<void> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private isClosed = false;

  constructor(
    private readonly pool: Pool,
    private readonly looks: RunLooks = runLooks,
  ) {}

  /** Begins to watch a run. */
  watch({ tenantId, runId }: WatchedRun): RunWatch {
    this.listener ??= listenTo(this.pool, {
      channel: watchChannel,
      onPayload: (payload) => this.wake(payload),
      onChange: (isTold) => this.change(isTold),
    });
    const watched = this.watched.get(runId) ?? { tenantId, wakers: new Set(), sequence: 0 };
    const watch = new RunWatch(() => {
      watched.wakers.delete(watch.wake);
      if (watched.wakers.size === 0 && this.watched.get(runId) === watched) this.watched.delete(runId);
    });
    watched.wakers.add(watch.wake);
    this.watched.set(runId, watched);
    this.plan();
    return watch;
  }

  async close(): Promise<void> {
    this.isClosed = true;
    clearTimeout(this.timer);
    await Promise.all([this.listener?.stop(), this.looking]);
  }

  private wake(runId: string): void {
    for (const wake of this.watched.get(runId)?.wakers ?? []) wake();
  }

  /** From here on it is looked less often, or more. What was told while nobody listened is lost. */
  private change(isTold: boolean): void {
    if (isTold) for (const runId of this.watched.keys()) this.wake(runId);
    clearTimeout(this.timer);
    this.timer = undefined;
    this.plan();
  }

  private get isTold(): boolean {
    return this.listener?.isListening() === true;
  }

  private plan(): void {
    if (this.timer || this.looking || this.isClosed || this.watched.size === 0) return;
    const { toldMs, untoldMs } = this.looks;
    this.timer = setTimeout(
      () => {
        this.timer = undefined;
        this.looking = this.look().finally(() => {
          this.looking = undefined;
          this.plan();
        });
      },
      this.isTold ? toldMs : untoldMs,
    );
  }

  /** Wakes those whose run has a new event; while nobody would tell of it, and when the look fails, all. */
  private async look(): Promise<void> {
    const byTenant = new Map<string, string[]>();
    for (const [runId, { tenantId }] of this.watched)
      byTenant.set(tenantId, [...(byTenant.get(tenantId) ?? []), runId]);
    for (const [tenantId, runIds] of byTenant) {
      const sequences = this.isTold
        ? await lastSequences(this.pool, { tenantId, runIds }).catch(() => undefined)
        : undefined;
      for (const runId of runIds) {
        const watched = this.watched.get(runId);
        if (!watched) continue;
        const sequence = sequences?.get(runId) ?? 0;
        if (sequences && sequence <= watched.sequence) continue;
        watched.sequence = Math.max(sequence, watched.sequence);
        this.wake(runId);
      }
    }
  }
}

export class RunWatch {
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
