/**
 * What time it is by Postgres' clock, which is one for all processes: what was written down by one is gone on with by another, and
 * the clock of a machine may be minutes wrong.
 */
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
    const { rows } = await this.pool
      .query<{ nowMs: number }>('SELECT extract(epoch FROM clock_timestamp())::float8 * 1000 AS "nowMs"')
      .catch(() => ({ rows: [] }));
    const afterMs = Date.now();
    const [row] = rows;
    if (!row) return;
    const aheadMs = Math.round(row.nowMs - (beforeMs + afterMs) / 2);
    this.aheadMs = Math.abs(aheadMs) < differenceMinMs + (afterMs - beforeMs) ? 0 : aheadMs;
    this.lookedAtMs = performance.now();
  }

  /** In milliseconds since 1970. */
  nowMs(): number {
    return Date.now() + this.aheadMs;
  }
}
