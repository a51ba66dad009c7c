/** Whether an attempt of an activity still counts: what is answered after its time is over nobody hears, and the next one buys it again. */
import type { Context } from '@temporalio/activity';
import { refused } from './refused';

export class AttemptTime {
  private readonly begunMs = performance.now();

  constructor(private readonly context: Context) {}

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
    const { cancellationSignal, info } = this.context;
    // Its reason is the failure that a cancelled activity ends in.
    if (cancellationSignal.aborted) return cancellationSignal.reason as Error;
    const {
      startToCloseTimeoutMs,
      scheduleToCloseTimeoutMs,
      scheduledTimestampMs,
      currentAttemptScheduledTimestampMs,
    } = info;
    // What went by before this attempt is told by the server's clock alone.
    const beforeMs = Math.max(0, currentAttemptScheduledTimestampMs - scheduledTimestampMs);
    const leftMs = Math.min(timeOf(startToCloseTimeoutMs), timeOf(scheduleToCloseTimeoutMs) - beforeMs);
    if (performance.now() - this.begunMs < leftMs) return undefined;
    const message = `The attempt's time (${leftMs} ms) was over before its money was granted. No call was made.`;
    return refused('authority_unavailable', message, { mayRetry: true });
  }
}

/** None is told as 0, or not at all. */
const timeOf = (timeoutMs: number | undefined): number =>
  timeoutMs === undefined || timeoutMs <= 0 ? Infinity : timeoutMs;
