/**
 * Puts on record what calls cost, for as long as it takes. An activity waits a moment for it and then hands its answer over all the
 * same: a paid answer is not held up, let alone thrown away, by a budget that is away. What never gets on record runs out and is charged
 * at its grant.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { CallMoney, CallOutcome, HeldMoney } from './money';

/** How long it is tried. */
export const patienceMs = 600_000;
/** How long an activity, and the end of a worker, wait for it. */
const waitedForMs = 5_000;
export const drainMs = 20_000;

/** Where it is told what did not go as it should. */
interface PluginLog {
  warn(message: string, attributes?: Record<string, unknown>): unknown;
}

interface SettlingTerms {
  log: PluginLog;
  /** What the call answered, where it did. */
  result?: unknown;
  /** Of the activity, which says no more that it is alive while it waits. */
  heartbeatTimeoutMs?: number | undefined;
}

export class Settling {
  private readonly underWay = new Set<Promise<void>>();

  constructor(private readonly money: CallMoney) {}

  /** Resolves once it is on record, or after a moment. It rejects nothing. */
  async settle(held: HeldMoney, outcome: CallOutcome, terms: SettlingTerms): Promise<void> {
    const { heartbeatTimeoutMs = 0 } = terms;
    const settling = this.insist(held, outcome, terms);
    this.underWay.add(settling);
    void settling.finally(() => this.underWay.delete(settling));
    // Its last sign of life may be four fifths of the timeout old.
    await within(heartbeatTimeoutMs > 0 ? Math.min(waitedForMs, heartbeatTimeoutMs / 10) : waitedForMs, settling);
  }

  /** What is still to be told when a worker has ended, and what comes meanwhile: another worker may have the same plugin. */
  settled(): Promise<void> {
    let isOver = false;
    const drained = async (): Promise<void> => {
      while (this.underWay.size > 0 && !isOver) await Promise.all(this.underWay);
    };
    return within(drainMs, drained()).finally(() => (isOver = true));
  }

  private async insist(held: HeldMoney, outcome: CallOutcome, { log, result }: SettlingTerms): Promise<void> {
    const { operationId } = held;
    const untilMs = performance.now() + patienceMs;
    for (let waitMs = 200, isFirst = true; ; waitMs = Math.min(waitMs * 2, 5_000), isFirst = false) {
      try {
        return await this.money.settle(held, outcome, result);
      } catch (error) {
        const isOver = !this.money.mayPass(error) || performance.now() > untilMs;
        if (isFirst || isOver)
          log.warn(
            isOver
              ? 'what a call cost is not on record: it is charged at its grant when that runs out'
              : 'what a call cost could not be put on record yet: it is tried again',
            { operationId, error: String(error) },
          );
        if (isOver) return;
      }
      await sleep(waitMs, undefined, { ref: false });
    }
  }
}

export async function within(ms: number, work: Promise<unknown>): Promise<void> {
  const waiting = new AbortController();
  await Promise.race([work, sleep(ms, undefined, { signal: waiting.signal }).catch(() => undefined)]);
  waiting.abort();
}
