/**
 * Waiting until Postgres knows an operation, such as the mark of a release that came before its reserve. All that callers of a tenant
 * wait for is looked up together, now and then: a flood of them costs no more statements than one.
 */
import { processClock, sleepBy, type Clock } from './clock';

/** Between two looks: about as long as a decision takes. */
const pauseMs = 30;

interface Waiting {
  operationId: string;
  giveUpMs: number;
  tell: (isKnown: boolean) => void;
}

export class KnownLooks {
  private readonly lanes = new Map<string, Set<Waiting>>();

  constructor(
    /** Which of some operations are known. */
    private readonly find: (tenantId: string, operationIds: readonly string[]) => Promise<ReadonlySet<string>>,
    private readonly clock: Clock = processClock,
  ) {}

  /** Whether an operation, in its one spelling, is known before its time is over. False too where Postgres cannot be asked. */
  wait(tenantId: string, operationId: string, timeoutMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const lane = this.lanes.get(tenantId);
      const waiting = { operationId, giveUpMs: this.clock.nowMs() + timeoutMs, tell: resolve };
      if (lane) lane.add(waiting);
      else void this.look(tenantId, new Set([waiting]));
    });
  }

  private async look(tenantId: string, lane: Set<Waiting>): Promise<void> {
    this.lanes.set(tenantId, lane);
    const end = (waiting: Waiting, isKnown: boolean): void => {
      lane.delete(waiting);
      waiting.tell(isKnown);
    };
    while (lane.size > 0) {
      await sleepBy(this.clock, pauseMs);
      const asked = [...lane];
      const known = await this.find(tenantId, [...new Set(asked.map(({ operationId }) => operationId))]).catch(
        () => undefined,
      );
      for (const waiting of asked) {
        if (known?.has(waiting.operationId)) end(waiting, true);
        else if (!known || waiting.giveUpMs <= this.clock.nowMs()) end(waiting, false);
      }
    }
    this.lanes.delete(tenantId);
  }
}
