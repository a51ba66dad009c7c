/** Connections of a pool that one tenant may have at once: who waits for its locks, or asks for much, leaves some to the others. */
import type { Pool } from 'pg';
import { databaseLimits } from './connections';

/** Whoever asked within so long shares the pool. */
const besideMs = 1_000;

class Share {
  private taken = 0;
  private readonly waiting = new Set<() => void>();

  constructor(private readonly maxNow: () => number) {}

  get isIdle(): boolean {
    return this.taken === 0 && this.waiting.size === 0;
  }

  async take(): Promise<void> {
    if (this.taken < this.maxNow()) {
      this.taken += 1;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const go = (): void => {
        clearTimeout(timer);
        resolve();
      };
      // As long as for a connection of a pool, and with the same words.
      const timer = setTimeout(() => {
        this.waiting.delete(go);
        reject(
          new Error('timeout exceeded when trying to connect: other transactions of the same tenant take its share'),
        );
      }, databaseLimits.connectMs);
      this.waiting.add(go);
    });
  }

  give(): void {
    this.taken -= 1;
    const max = this.maxNow();
    for (const next of this.waiting) {
      if (this.taken >= max) return;
      this.taken += 1;
      this.waiting.delete(next);
      next();
    }
  }
}

class Shares {
  private readonly byTenant = new Map<string, Share>();
  /** Who asked last, and who asked last of all others. */
  private last = { tenantId: '', atMs: -Infinity };
  private other = this.last;

  constructor(private readonly max: { alone: number; beside: number }) {}

  async within<T>(tenantId: string, work: () => Promise<T>): Promise<T> {
    if (this.last.tenantId !== tenantId) this.other = this.last;
    this.last = { tenantId, atMs: performance.now() };
    const share = this.byTenant.get(tenantId) ?? new Share(() => this.maxOf(tenantId));
    this.byTenant.set(tenantId, share);
    await share.take();
    try {
      return await work();
    } finally {
      share.give();
      if (share.isIdle) this.byTenant.delete(tenantId);
    }
  }

  private maxOf(tenantId: string): number {
    const { atMs } = this.last.tenantId === tenantId ? this.other : this.last;
    return performance.now() - atMs < besideMs ? this.max.beside : this.max.alone;
  }
}

const pools = new WeakMap<Pool, Shares>();

/**
 * From here on a tenant has at most all but `left` of the pool's connections at once, and a fifth of them, at least two, while
 * others ask too: each of its statements that runs takes processor time from theirs.
 */
export function shareFairly(pool: Pool, { left }: { left: number }): void {
  const max = pool.options.max ?? 10;
  const alone = Math.max(1, max - left);
  pools.set(pool, new Shares({ alone, beside: Math.min(alone, Math.max(2, Math.floor(max / 5))) }));
}

/** Runs work that takes a connection, when the tenant's share lets it. Who names no tenant is not counted. */
export async function withinShare<T>(pool: Pool, tenantId: string, work: () => Promise<T>): Promise<T> {
  const shares = pools.get(pool);
  return !shares || tenantId === '' ? work() : shares.within(tenantId, work);
}
