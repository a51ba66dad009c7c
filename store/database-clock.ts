/**
 * What time it is by Postgres' clock, which is one for all processes: what was written down by one is gone on with by another, and
 * the clock of a machine may be minutes wrong.
 */
import { clockMs } from './installation';
import type { Pool } from './pool';

/** How long a look at it is good for. */
const goodForMs = 60_000;
/** Less is no difference: a look takes its time, and a process may be held up in it. */
const differenceMinMs = 2_000;

export class DatabaseClock {
  private aheadMs = 0;
  private lookedAtMs = -Infinity;

  constructor(private readonly pool: Pool) {}

  /** Looks at Postgres' clock, if the last look is old. While it cannot be seen, what was known of it holds. */
  async look(): Promise<void> {
    if (performance.now() - this.lookedAtMs < goodForMs) return;
    const beforeMs = Date.now();
    const nowMs = await clockMs(this.pool).catch(() => undefined);
    const afterMs = Date.now();
    if (nowMs === undefined) return;
    const aheadMs = Math.round(nowMs - (beforeMs + afterMs) / 2);
    this.aheadMs = Math.abs(aheadMs) < differenceMinMs + (afterMs - beforeMs) ? 0 : aheadMs;
    this.lookedAtMs = performance.now();
  }

  /** In milliseconds since 1970. */
  nowMs(): number {
    return Date.now() + this.aheadMs;
  }
}
