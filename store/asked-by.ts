/** What the commands of a batch have to be decided from: which rows they name, and which limits are theirs. */
import type { BudgetCommand } from '../core/budget/commands';
import { limitsAsked } from '../core/budget/run-limits';
import { inOneSpelling } from '../core/ids';
import { spelled } from '../core/inputs/read-command';

/** What a command names: its operation, and the envelope that it is a part of. */
export const operationsOf = (command: BudgetCommand): string[] =>
  'operationId' in command
    ? [command.operationId, ...('parentOperationId' in command ? [command.parentOperationId] : [])].map(inOneSpelling)
    : [];

/** Tells the reading which limits of runs the commands bring or name. It is a setting, since the functions are called by older versions too. */
export function limitsSetting(commands: readonly BudgetCommand[]): Record<string, string> {
  const asked = limitsAsked(
    commands.flatMap((command) => (command.type === 'reserve' && command.runLimit ? [spelled(command)] : [])),
  );
  return asked.length === 0 ? {} : { 'spendlock.run_limits': JSON.stringify(asked) };
}

/** The same of labels: which limits of theirs bind is looked up with what else is. */
export function labelsSetting(commands: readonly BudgetCommand[]): Record<string, string> {
  const asked = new Set(
    commands.flatMap((command) =>
      command.type === 'reserve' && command.labels ? [JSON.stringify(command.labels)] : [],
    ),
  );
  return asked.size === 0 ? {} : { 'spendlock.labels': `[${[...asked].join(',')}]` };
}
