/**
 * What is due of a tenant (overdue reservations, outcomes to fold) is settled with every batch, and must not keep the tenant from what
 * it asks for. Where the recording refuses it, each is tried by itself, for a while, and the commands are decided without
 * it: what stays refused waits for somebody to look at the books.
 */
import type { BatchOptions } from '../store/budget-batch';
import { listDue } from '../store/holds';
import { isRefused, isTooSlow, sqlState, type Pool } from '../store/pool';
import type { Logger } from '../telemetry/log';
import { PartSizes } from './in-parts';

/** How much of it is tried by itself, for how long, and when it is next looked at. */
const operationsMax = 50;
const timeMs = 1_000;
const lookAgainMs = 30_000;

/** When an authority that left what is due looks at it again: not at once, though it stays due. */
export const laterThan = (wakeUpMs: number): number => Math.max(wakeUpMs, Date.now() + lookAgainMs);

/** Whether what is due can be recorded with the batches; otherwise what can be by itself was. */
export async function canSettle({
  pool,
  log,
  tenantId,
  settle,
}: {
  pool: Pool;
  log: Logger;
  tenantId: string;
  settle: (due?: BatchOptions['due']) => Promise<unknown>;
}): Promise<boolean> {
  /** What kept it from being recorded. */
  const refusal = async (due?: BatchOptions['due']): Promise<unknown> => {
    try {
      await settle(due);
      return undefined;
    } catch (error) {
      if (!isRefused(error)) throw error;
      return error;
    }
  };
  const all = await refusal();
  if (all === undefined) return true;
  log.error(
    { tenantId, sqlState: sqlState(all) },
    'what is due of a tenant cannot be recorded, and its commands are decided without it; `npx spendlock doctor --books` says what is wrong',
  );
  const giveUpMs = Date.now() + timeMs;
  for (const operationId of await listDue(pool, tenantId, operationsMax)) {
    if (Date.now() > giveUpMs) break;
    const one = await refusal({ only: operationId });
    if (one !== undefined)
      log.error({ tenantId, operationId, sqlState: sqlState(one) }, 'the end of a reservation cannot be recorded');
  }
  return false;
}

/** Of what is settled with a batch that was too slow, one in so many is settled with the next. */
const fewer = 8;

/**
 * How much of what is due is settled with a batch, by tenant. It may be what takes a batch too long (many users, whose quotas are
 * read with it), so that less of it comes with the next one: a tenant always gets on. One that was quick lets it grow again.
 */
export class DueSizes {
  private readonly sizes: PartSizes;

  constructor(
    dueMax: number,
    private readonly timeoutMs: number,
  ) {
    this.sizes = new PartSizes(dueMax);
  }

  /** Decides and records a batch that settles so much. */
  async settling<T>(tenantId: string, decide: (dueMax: number) => Promise<T>): Promise<T> {
    const dueMax = this.sizes.of(tenantId);
    const startedMs = performance.now();
    try {
      const decided = await decide(dueMax);
      if (performance.now() - startedMs < this.timeoutMs / 4) this.sizes.note(tenantId, Math.max(1, dueMax * 2));
      return decided;
    } catch (error) {
      if (isTooSlow(error)) this.sizes.note(tenantId, Math.floor(dueMax / fewer));
      throw error;
    }
  }
}
