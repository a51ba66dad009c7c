/** Connections of a pool that one tenant may have at once: who waits for its locks, or asks for much, leaves some to the others. */
import type { Pool } from 'pg';
import { databaseLimits } from './connections';

class Share {
  private taken = 0;
  private readonly waiting = new Set<() => void>();

  constructor(private readonly max: number) {}

  get isIdle(): boolean {
    return this.taken === 0 && this.waiting.size === 0;
  }

  async take(): Promise<void> {
    if (this.taken < this.max) {
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
    const [next] = this.waiting;
    if (!next) {
      this.taken -= 1;
      return;
    }
    this.waiting.delete(next);
    next();
  }
}

interface Shares {
  max: number;
  byTenant: Map<string, Share>;
}

const pools = new WeakMap<Pool, Shares>();

/** From here on a tenant has at most all but `left` of the pool's connections at once. */
export function shareFairly(pool: Pool, { left }: { left: number }): void {
  pools.set(pool, { max: Math.max(1, (pool.options.max ?? 10) - left), byTenant: new Map() });
}

/** Runs work that takes a connection, when the tenant's share lets it. Who names no tenant is not counted. */
export async function withinShare<T>(pool: Pool, tenantId: string, work: () => Promise<T>): Promise<T> {
  const shares = pools.get(pool);
  if (!shares || tenantId === '') return work();
  const share = shares.byTenant.get(tenantId) ?? new Share(shares.max);
  shares.byTenant.set(tenantId, share);
  await share.take();
  try {
    return await work();
  } finally {
    share.give();
    if (share.isIdle) shares.byTenant.delete(tenantId);
  }
}
