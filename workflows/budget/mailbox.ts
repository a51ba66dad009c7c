/** Commands that wait for their authority's next decision, in the order in which they came. */
import type { BudgetCommand } from '../../core/budget/commands';

/** Commands of one batch. */
const batchMax = 500;
/** What an execution may hand to the next: the server refuses an input above 2 MB. */
const carryCharsMax = 1_000_000;

export class Mailbox {
  private commands: BudgetCommand[];

  constructor(carried: readonly BudgetCommand[] = []) {
    this.commands = [...carried];
  }

  get size(): number {
    return this.commands.length;
  }

  add(commands: readonly BudgetCommand[]): void {
    // One by one: as arguments of one call there may be too many.
    for (const command of commands) this.commands.push(command);
  }

  /** Takes the next batch out. */
  take(): BudgetCommand[] {
    return this.commands.splice(0, batchMax);
  }

  /** Puts back a batch that was not decided, before what came after it. */
  putBack(batch: readonly BudgetCommand[]): void {
    this.commands = [...batch, ...this.commands];
  }

  /** Whether the next execution can be given all of it. */
  get fits(): boolean {
    return this.carry().length === this.commands.length;
  }

  /**
   * What the next execution is given. Beyond its limit reserves are left behind first, since their callers repeat them;
   * so are, if they must be, the others, which each run reads back at its end.
   */
  carry(): BudgetCommand[] {
    let chars = 0;
    const kept = new Set<BudgetCommand>();
    const ends = this.commands.filter((command) => command.type !== 'reserve');
    const reserves = this.commands.filter((command) => command.type === 'reserve');
    for (const command of [...ends, ...reserves]) {
      chars += JSON.stringify(command).length;
      if (chars > carryCharsMax) break;
      kept.add(command);
    }
    return this.commands.filter((command) => kept.has(command));
  }

  /** Takes out what the next execution cannot be given. */
  takeExcess(): BudgetCommand[] {
    const kept = new Set(this.carry());
    const excess = this.commands.filter((command) => !kept.has(command));
    this.commands = this.commands.filter((command) => kept.has(command));
    return excess;
  }
}
