/** Failures that repeat are one line with a count: who makes a request fail does not fill the log. */
import type { LogFields, Logger } from './log';

/** How long the same failure is counted before it is said again, and how many kinds are told apart. */
const quietMs = 10_000;
const kindsMax = 100;

interface Kind {
  unsaid: number;
  details: LogFields;
}

export class RepeatedFailures {
  private readonly kinds = new Map<string, Kind>();

  constructor(
    private readonly log: Pick<Logger, 'error'>,
    private readonly message: string,
    private readonly forMs = quietMs,
  ) {}

  /** Logs a failure, or counts it. `repeats` are those since the last line of its kind. */
  add(error: Error, details: LogFields): void {
    const { code = '' } = error as { code?: unknown };
    // Ids and values in a message would make each a kind of its own.
    const name = `${error.name} ${String(code)} ${error.stack?.match(/^ +at .*$/m)?.[0].trim() ?? ''}`;
    const kind = this.kinds.get(name);
    if (kind) {
      kind.unsaid += 1;
      kind.details = details;
      return;
    }
    this.log.error(details, this.message);
    if (this.kinds.size < kindsMax) this.count(name, details);
  }

  private count(name: string, details: LogFields): void {
    this.kinds.set(name, { unsaid: 0, details });
    setTimeout(() => {
      const kind = this.kinds.get(name);
      this.kinds.delete(name);
      if (!kind || kind.unsaid === 0) return;
      this.log.error({ ...kind.details, repeats: kind.unsaid }, this.message);
      this.count(name, kind.details);
    }, this.forMs).unref();
  }
}
