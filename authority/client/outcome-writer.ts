/**
 * Writes what callers say of their calls into the reservations' rows. Per tenant one statement is under way at a time;
 * what is said meanwhile goes into the next. One that Postgres refuses is told to its caller alone. An outcome is safe once its
 * row holds it: the authority folds it afterwards.
 */
import { decideInParts, PartSizes } from '../in-parts';
import { inOneSpelling } from '../../core/ids';
import { recordOutcomes, type OutcomeItem, type OutcomeAnswer } from '../../store/outcomes';
import { isRefused, isTooSlow, type Pool } from '../../store/pool';

/** Outcomes of one statement. */
const itemsMax = 200;
/** How long one batch is tried in ever smaller parts. */
const batchMs = 20_000;

interface QueuedOutcome {
  item: OutcomeItem;
  resolve: (answer: OutcomeAnswer) => void;
  reject: (error: unknown) => void;
}

export class OutcomeWriter {
  private readonly lanes = new Map<string, QueuedOutcome[]>();
  private readonly partSizes = new PartSizes(itemsMax);

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

  private async writeAll(tenantId: string, lane: QueuedOutcome[]): Promise<void> {
    // What comes in the same turn of the event loop is company.
    await new Promise(setImmediate);
    while (lane.length > 0) {
      const batch = takeBatch(lane);
      const endMs = performance.now() + batchMs;
      const { done, size, error } = await decideInParts({
        commands: batch,
        size: this.partSizes.of(tenantId),
        decide: (part) => this.writePart(tenantId, part),
        setAside: ({ reject }, refusal) => reject(refusal),
        isRefusal: isRefused,
        isTooSlow,
        hasTime: () => performance.now() < endMs,
      });
      this.partSizes.note(tenantId, size);
      const left = batch.slice(done);
      // What there was no time for comes first next time; where Postgres is away everybody is told.
      if (error === undefined) lane.unshift(...left);
      else for (const { reject } of left) reject(error);
    }
    this.lanes.delete(tenantId);
  }

  /** Records outcomes together and tells their callers; one that is refused keeps all of them from being recorded. */
  private async writePart(tenantId: string, part: readonly QueuedOutcome[]): Promise<void> {
    const answers = await recordOutcomes(
      this.pool,
      tenantId,
      part.map(({ item }) => item),
    );
    const byId = new Map(answers.map((answer) => [answer.operationId, answer]));
    for (const { item, resolve } of part) resolve(byId.get(item.operationId) as OutcomeAnswer);
  }
}

/** The next statement's outcomes: one an operation, so that each sees what the one before it did. */
function takeBatch(lane: QueuedOutcome[]): QueuedOutcome[] {
  const seen = new Set<string>();
  const batch: QueuedOutcome[] = [];
  for (let index = 0; index < lane.length && batch.length < itemsMax;) {
    const { operationId } = (lane[index] as QueuedOutcome).item;
    if (seen.has(operationId)) {
      index += 1;
      continue;
    }
    seen.add(operationId);
    batch.push(...lane.splice(index, 1));
  }
  return batch;
}
