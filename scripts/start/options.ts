/** The command line of `npm start`. */
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import path from 'node:path';
import { dataDirOf } from '../../cli/data-dir';
import { parseAmountUsd } from '../../core/money';

export interface StartOptions {
  once: boolean;
  json: boolean;
  task?: string;
  /** Absolute. */
  file?: string;
  budgetUsd?: string;
  model?: string;
  allowLocalCode: boolean;
  dataDir: string;
}

/** The command was used wrongly: exit status 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

const help = `
Exit statuses: 0 the run completed, 3 it was denied money, 1 it failed, 2 the command was used wrongly.

Examples:
  npm start                                      run the example task, then serve until Ctrl-C
  npm start -- --once --json                     run it, print one JSON object as the last line, and end
  npm start -- --once --budget 0.01              see a denial
  npm start -- --task "Which month was best?" --file sales.csv

With ANTHROPIC_API_KEY or E2B_API_KEY set the real services are used; without, stand-ins whose answers are scripted.`;

/** @throws UsageError that says what is wrong. */
export function parseStartOptions(argv: readonly string[]): StartOptions {
  const command = new Command('npm start --')
    .description('Runs Spendlock on this machine: Temporal, Postgres, worker and API, and a first agent run.')
    .option('--once', 'end after the run', false)
    .option('--json', 'print the run as one JSON object on the last line', false)
    .option('--task <text>', 'a task of your own')
    .option('--file <path>', 'a file for the task')
    .option('--budget <usd>', 'a fresh tenant with this budget for the month', amount)
    .option('--model <name>', 'the model to call')
    .option(
      '--allow-local-code',
      'let code that a real model wrote run on this machine when there is no E2B_API_KEY',
      false,
    )
    .addHelpText('after', help)
    .allowExcessArguments(false)
    .exitOverride()
    .configureOutput({ writeErr: () => undefined });
  try {
    command.parse([...argv], { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.code === 'commander.helpDisplayed') process.exit(0);
    throw new UsageError(`${error.message}\nNothing was started. See npm start -- --help.`);
  }
  const given = command.opts<{
    once: boolean;
    json: boolean;
    task?: string;
    file?: string;
    budget?: string;
    model?: string;
    allowLocalCode: boolean;
  }>();
  if (given.file !== undefined && given.task === undefined)
    throw new UsageError('--file needs a --task that says what to do with it. Nothing was started.');
  const callerDir = process.env.SPENDLOCK_CALLER_DIR ?? process.cwd();
  return {
    once: given.once,
    json: given.json,
    allowLocalCode: given.allowLocalCode,
    ...(given.task === undefined ? {} : { task: given.task }),
    ...(given.file === undefined ? {} : { file: path.resolve(callerDir, given.file) }),
    ...(given.budget === undefined ? {} : { budgetUsd: given.budget }),
    ...(given.model === undefined ? {} : { model: given.model }),
    dataDir: path.resolve(dataDirOf(process.env)),
  };
}

function amount(text: string): string {
  try {
    if (parseAmountUsd(text) < 10n ** 24n) return text;
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
  throw new InvalidArgumentError('It must be below 1000000000000 US dollars.');
}
