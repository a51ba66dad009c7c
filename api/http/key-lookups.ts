/**
 * Looking API keys up, many with one statement. A few statements are under way at a time, and whoever asks meanwhile goes with the
 * next one: however many keys come that nobody knows, they cost few statements, and a good one among them is found with them.
 */
import { authenticate, type FoundKey } from '../../store/key-callers';
import { databaseLimits } from '../../store/connections';
import type { Pool } from '../../store/pool';
import { ApiError } from './errors';

/** Keys of one statement, statements at once, and keys that wait for one. */
const keysMax = 1_000;
const statementsMax = 4;
const waitingMax = 10_000;

interface PendingLookup {
  found: Promise<FoundKey | undefined>;
  resolve: (found: FoundKey | undefined) => void;
  reject: (error: unknown) => void;
  timer: NodeJS.Timeout;
}

export class KeyLookups {
  private readonly waiting = new Map<string, PendingLookup>();
  private underWay = 0;
  private begunAtMs = -Infinity;
  private later: NodeJS.Timeout | undefined;

  /** Statements begin at least so far apart. */
  constructor(
    private readonly pool: Pool,
    private readonly apartMs: number,
  ) {}

  /** Whom a key speaks for now; undefined when it is none. @throws ApiError `unavailable` when it cannot be looked up in time. */
  of(key: string): Promise<FoundKey | undefined> {
    const same = this.waiting.get(key);
    if (same) return same.found;
    if (this.waiting.size >= waitingMax) return Promise.reject(notInTime());
    const { promise, resolve, reject } = withResolvers<FoundKey | undefined>();
    // As long as for a connection of a pool.
    const timer = setTimeout(() => {
      this.waiting.delete(key);
      reject(notInTime());
    }, databaseLimits.connectMs);
    this.waiting.set(key, { found: promise, resolve, reject, timer });
    this.goOn();
    return promise;
  }

  private goOn(): void {
    if (this.waiting.size === 0 || this.underWay >= statementsMax || this.later) return;
    const waitMs = this.begunAtMs + this.apartMs - performance.now();
    if (waitMs <= 0) return void this.lookUp();
    this.later = setTimeout(() => {
      this.later = undefined;
      this.goOn();
    }, waitMs);
  }

  private async lookUp(): Promise<void> {
    this.underWay += 1;
    this.begunAtMs = performance.now();
    const batch = [...this.waiting].slice(0, keysMax);
    for (const [key, { timer }] of batch) {
      clearTimeout(timer);
      this.waiting.delete(key);
    }
    try {
      const found = await authenticate(
        this.pool,
        batch.map(([key]) => key),
      );
      for (const [at, [, { resolve }]] of batch.entries()) resolve(found[at]);
    } catch (error) {
      for (const [, { reject }] of batch) reject(error);
    } finally {
      this.underWay -= 1;
      this.goOn();
    }
  }
}

const notInTime = (): ApiError =>
  new ApiError('unavailable', 'So many API keys are being looked up that this one was not in time. Nothing was done.');

function withResolvers<T>() {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((...settle) => ([resolve, reject] = settle));
  return { promise, resolve, reject };
}
