/**
 * Looks at tenants' lines that are due some time, one a tenant. One that fails, as where Postgres is away for a moment, is taken again
 * after a pause; one that fails on, or that a process does not live to take, is upkeep's.
 */
import type { Logger } from '../telemetry/log';

/** The pause after a look that failed, doubled each time, and how often it is taken again. */
const pauseMs = 1_000;
const triesMax = 5;

export interface LaterLooks {
  /** Looks at a tenant's line after so many milliseconds, in the place of a look that was due. */
  plan(tenantId: string, afterMs: number): void;
}

/** @param look answers after how long the next one is due; undefined where none is. */
export function laterLooks(look: (tenantId: string) => Promise<number | undefined>, log: Logger): LaterLooks {
  const due = new Map<string, NodeJS.Timeout>();

  function plan(tenantId: string, afterMs: number, failures = 0): void {
    clearTimeout(due.get(tenantId));
    due.set(tenantId, setTimeout(() => void lookNow(tenantId, failures), afterMs).unref());
  }

  async function lookNow(tenantId: string, failures: number): Promise<void> {
    due.delete(tenantId);
    try {
      const againMs = await look(tenantId);
      if (againMs !== undefined) plan(tenantId, againMs);
    } catch (error) {
      const isLast = failures >= triesMax;
      const next = isLast ? 'upkeep sees to them within a minute' : 'they are looked at again in a moment';
      log.warn({ tenantId, error }, `those that wait for money could not be looked at: ${next}`);
      // One that was planned meanwhile is due sooner.
      if (!isLast && !due.has(tenantId)) plan(tenantId, pauseMs * 2 ** failures, failures + 1);
    }
  }

  return { plan: (tenantId, afterMs) => plan(tenantId, afterMs) };
}
