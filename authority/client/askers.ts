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

export class Askers {
  private readonly operations = new Map<string, { asker: string; asking: number; left: Set<LeftWith> }>();
  private askers = 0;

  /** @param process names this one among all that ask */
  constructor(private readonly process: string) {}

  /** One more asks: as whom, and what is called once as the one leaves: whether the operation is to be released now. */
  enter(operation: string): { asker: string; leave: (how: LeftWith) => boolean } {
    const all = this.operations.get(operation) ?? { asker: this.another(), asking: 0, left: new Set<LeftWith>() };
    this.operations.set(operation, all);
    all.asking += 1;
    const leave = (how: LeftWith): boolean => {
      all.left.add(how);
      all.asking -= 1;
      if (all.asking > 0) return false;
      this.operations.delete(operation);
      return all.left.has('no use') && !all.left.has('a grant');
    };
    return { asker: all.asker, leave };
  }

  private another(): string {
    this.askers += 1;
    return `${this.process}.${this.askers}`;
  }
}

/** How a caller leaves with its answer, or with none. */
export function leftWith(answer: ReserveAnswer | undefined, { isGone }: { isGone: boolean }): LeftWith {
  // What its authority left behind may still come by a repeat that is on its way.
  if (!answer || (answer.decision === 'rejected' && answer.code === 'authority_unavailable')) return 'no use';
  if (answer.decision !== 'granted') return 'nothing';
  return isGone ? 'no use' : 'a grant';
}
