/**
 * Who of this process asks for an operation now, whichever way its answer comes. Several may, as by repeats of one request, and all
 * are told of the same grant: it is given back once the last of them has gone or given up, and none of them uses it. Who asks later, or
 * elsewhere, is another asker, and is told of it by the record (docs/decisions/0052).
 */
import type { ReserveAnswer } from '../../core/budget/commands';

export type LeftWith =
  /** It was granted, and is used. */
  | 'a grant'
  /** It went away or gave up: what is granted, or will be, is of no use to it. */
  | 'no use'
  /** It was told that it has none. */
  | 'nothing';

/** Those of this process that ask for one operation now. */
interface Asking {
  asker: string;
  asking: number;
  left: Set<LeftWith>;
  underWay: Set<Promise<unknown>>;
}

/** One of them. */
export interface Asked {
  /** As whom it asks. */
  asker: string;
  /** What is asked in its name takes as long as that does. */
  during: (asked: Promise<unknown>) => void;
  /**
   * Called once as it leaves. Where the operation is to be released then, resolves once nothing that was asked in its name is under way:
   * what came after the release would note it as told of the grant again, and nobody would take that back.
   */
  leave: (how: LeftWith) => Promise<void> | undefined;
}

export class Askers {
  private readonly operations = new Map<string, Asking>();
  private askers = 0;

  /** @param process names this one among all that ask */
  constructor(private readonly process: string) {}

  /** One more asks. */
  enter(operation: string): Asked {
    const all = this.operations.get(operation) ?? this.begin(operation);
    all.asking += 1;
    return {
      asker: all.asker,
      during: (asked) => {
        const ended = asked.catch(() => undefined).finally(() => all.underWay.delete(ended));
        all.underWay.add(ended);
      },
      leave: (how) => {
        all.left.add(how);
        all.asking -= 1;
        if (all.asking > 0) return undefined;
        this.operations.delete(operation);
        const isGivenBack = all.left.has('no use') && !all.left.has('a grant');
        return isGivenBack ? Promise.all(all.underWay).then(() => undefined) : undefined;
      },
    };
  }

  private begin(operation: string): Asking {
    this.askers += 1;
    const asking = {
      asker: `${this.process}.${this.askers}`,
      asking: 0,
      left: new Set<LeftWith>(),
      underWay: new Set<Promise<unknown>>(),
    };
    this.operations.set(operation, asking);
    return asking;
  }
}

/** How a caller leaves with its answer, or with none. */
export function leftWith(answer: ReserveAnswer | undefined, { isGone }: { isGone: boolean }): LeftWith {
  // What its authority left behind may still come by a repeat that is on its way.
  if (!answer || (answer.decision === 'rejected' && answer.code === 'authority_unavailable')) return 'no use';
  if (answer.decision !== 'granted') return 'nothing';
  return isGone ? 'no use' : 'a grant';
}
