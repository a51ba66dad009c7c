/**
 * Commands are decided in their order, in parts as large as Postgres takes them: all at once, as a rule. Where it refuses a
 * command, halves lead to it in a few steps, and it is set aside. Where a part takes too long the next one is smaller, in this
 * call and in the next ones of its tenant; each that is in time lets them grow again. What there is no time for is left to the
 * caller, who has it decided next: what was decided is on record, and nobody waits for the rest.
 */

export interface Parts<Command> {
  commands: readonly Command[];
  /** The most commands of the first part. */
  size: number;
  /** Decides a part, records it and answers it. */
  decide: (part: readonly Command[]) => Promise<void>;
  /** One that Postgres refuses, alone. */
  setAside: (command: Command, error: unknown) => void;
  /** Whether it is what was asked that is refused. */
  isRefusal: (error: unknown) => boolean;
  isTooSlow: (error: unknown) => boolean;
  hasTime: () => boolean;
}

export interface DecidedParts {
  /** How many commands were decided or set aside: the first of the list. */
  done: number;
  /** The most that the next part should have. */
  size: number;
  /** What kept it from going on, when it was neither a command nor the time. */
  error?: unknown;
}

export async function decideInParts<Command>(parts: Parts<Command>): Promise<DecidedParts> {
  const { commands, decide, setAside, isRefusal, isTooSlow, hasTime } = parts;
  let { size } = parts;
  let done = 0;
  /** How large parts are while halves lead to a command that is refused. */
  let searching = Infinity;
  const ended = (error?: unknown): DecidedParts => ({
    done,
    size: Math.min(size, searching),
    ...(error === undefined ? {} : { error }),
  });
  do {
    const part = commands.slice(done, done + Math.min(size, searching));
    const [only] = part;
    try {
      await decide(part);
      done += part.length;
      if (searching === Infinity) size *= 2;
    } catch (error) {
      const half = Math.ceil(part.length / 2);
      if (isRefusal(error) && part.length > 1) searching = half;
      else if (isRefusal(error) && only !== undefined) {
        setAside(only, error);
        done += 1;
        searching = Infinity;
      } else if (isTooSlow(error) && part.length > 1) {
        size = half;
        if (!hasTime()) return ended(error);
      } else return ended(error);
    }
  } while (done < commands.length && hasTime());
  return ended();
}

/** The most commands of a part by tenant, of those that Postgres was too slow for; the others have no bound of their own. */
export class PartSizes {
  private readonly sizes = new Map<string, number>();

  constructor(
    private readonly sizeMax: number,
    private readonly tenantsMax = 1_000,
  ) {}

  of(tenantId: string): number {
    return this.sizes.get(tenantId) ?? this.sizeMax;
  }

  note(tenantId: string, size: number): void {
    this.sizes.delete(tenantId);
    if (size >= this.sizeMax) return;
    this.sizes.set(tenantId, size);
    const [oldest] = this.sizes.keys();
    if (this.sizes.size > this.tenantsMax && oldest !== undefined) this.sizes.delete(oldest);
  }
}
