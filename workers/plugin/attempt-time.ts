/** Whether an attempt of an activity still counts: what is answered after its time is over nobody hears, and the next one buys it again. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Context } from '@temporalio/activity';
import { refused } from './refused';

/** How long a user's own function may take that says what a call costs, before it or after it. */
const ownFunctionMs = 30_000;

export class AttemptTime {
  private readonly begunMs = performance.now();
  /** How long it lasts, in milliseconds; Infinity where nothing says so. */
  private readonly lastsMs: number;

  constructor(private readonly context: Context) {
    const {
      startToCloseTimeoutMs,
      scheduleToCloseTimeoutMs,
      scheduledTimestampMs,
      currentAttemptScheduledTimestampMs,
    } = context.info;
    // What went by before this attempt is told by the server's clock alone.
    const beforeMs = Math.max(0, currentAttemptScheduledTimestampMs - scheduledTimestampMs);
    this.lastsMs = Math.min(timeOf(startToCloseTimeoutMs), timeOf(scheduleToCloseTimeoutMs) - beforeMs);
  }

  /** The attempt has ended for Temporal, whatever its function still does. */
  get isUp(): boolean {
    return this.leftMs <= 0;
  }

  private get leftMs(): number {
    return this.lastsMs - (performance.now() - this.begunMs);
  }

  /** What a user's own function says; undefined once it has taken so long that the attempt has to go on without it. */
  async said<T extends object>(saying: Promise<T>): Promise<T | undefined> {
    const waiting = new AbortController();
    // Half of what is left is for what comes after it.
    const mostMs = Math.max(0, Math.min(ownFunctionMs, this.leftMs / 2));
    const silence = sleep(mostMs, undefined, { signal: waiting.signal }).catch(() => undefined);
    return Promise.race([saying, silence]).finally(() => waiting.abort());
  }

  /** Does what comes before the activity itself, which cannot say yet that it is alive. What an attempt before left is kept. */
  async heartbeating<T>(work: () => Promise<T>): Promise<T> {
    const { info } = this.context;
    const { heartbeatTimeoutMs = 0 } = info;
    if (heartbeatTimeoutMs <= 0) return work();
    const beat = (): void => this.context.heartbeat(info.heartbeatDetails);
    const timer = setInterval(beat, heartbeatTimeoutMs / 3).unref();
    try {
      return await work();
    } finally {
      clearInterval(timer);
    }
  }

  /** Why its call is not to be made any more. */
  over(): Error | undefined {
    const { cancellationSignal } = this.context;
    // Its reason is the failure that a cancelled activity ends in.
    if (cancellationSignal.aborted) return cancellationSignal.reason as Error;
    if (!this.isUp) return undefined;
    const message = `The attempt's time (${this.lastsMs} ms) was over before its money was granted. No call was made.`;
    return refused('authority_unavailable', message, { mayRetry: true });
  }
}

/** None is told as 0, or not at all. */
const timeOf = (timeoutMs: number | undefined): number =>
  timeoutMs === undefined || timeoutMs <= 0 ? Infinity : timeoutMs;
