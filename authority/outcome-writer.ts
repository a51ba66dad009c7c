/**
 * Writes what callers say of their calls into the reservations' rows. Per tenant one statement is under way at a time;
 * what is said meanwhile goes into the next. An outcome is safe once its row holds it: the authority folds it afterwards.
 */
import { inOneSpelling } from '../core/ids';
import { recordOutcomes, type OutcomeItem, type OutcomeAnswer } from '../store/outcomes';
import type { Pool } from '../store/pool';

/** Outcomes of one statement. */
const itemsMax = 200;

interface Waiting {
  item: OutcomeItem;
  resolve: (answer: OutcomeAnswer) => void;
  reject: (error: unknown) => void;
}

export class OutcomeWriter {
  private readonly lanes = new Map<string, Waiting[]>();

  constructor(private readonly pool: Pool) {}

  /** Resolves once Postgres holds the outcome, with how the reservation stood before. */
  write(tenantId: string, given: OutcomeItem): Promise<OutcomeAnswer> {
    const item = { ...given, operationId: inOneSpelling(given.operationId) };
    return new Promise((resolve, reject) => {
      const waiting = { item, resolve, reject };
      const lane = this.lanes.get(tenantId);
      if (lane) {
        lane.push(waiting);
        return;
      }
      const opened = [waiting];
      this.lanes.set(tenantId, opened);
      void this.writeAll(tenantId, opened);
    });
  }

  private async writeAll(tenantId: string, lane: Waiting[]): Promise<void> {
    // What comes in the same turn of the event loop is company.
    await new Promise(setImmediate);
    while (lane.length > 0) {
      const batch = takeBatch(lane);
      try {
        const answers = await recordOutcomes(
          this.pool,
          tenantId,
          batch.map(({ item }) => item),
        );
        const byId = new Map(answers.map((answer) => [answer.operationId, answer]));
        for (const { item, resolve } of batch) resolve(byId.get(item.operationId) as OutcomeAnswer);
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.lanes.delete(tenantId);
  }
}

/** The next statement's outcomes: one an operation, so that each sees what the one before it did. */
function takeBatch(lane: Waiting[]): Waiting[] {
  const seen = new Set<string>();
  const batch: Waiting[] = [];
  for (let index = 0; index < lane.length && batch.length < itemsMax;) {
    const { operationId } = (lane[index] as Waiting).item;
    if (seen.has(operationId)) {
      index += 1;
      continue;
    }
    seen.add(operationId);
    batch.push(...lane.splice(index, 1));
  }
  return batch;
}
