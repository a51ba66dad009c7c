/** The command line of `npm start`. */
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import path from 'node:path';
import { dataDirOf } from '../../cli/data-dir';
import { parseAmountUsd } from '../../core/money';
import { realKeys } from './real-services';

export interface StartOptions {
  once: boolean;
  json: boolean;
  /** Whether the example is asked for by name. */
  example: boolean;
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
The first start runs the example task; later ones serve at once. --task, --example, --budget and --once ask for a run at any start.
With the key of a real service set (ANTHROPIC_API_KEY, OPENAI_API_KEY, GEMINI_API_KEY, E2B_API_KEY) only --task and --example
do: nothing is spent unasked. Without a key its stand-in is used, whose answers are scripted.

Exit statuses: 0 the run completed, or nothing was run; 1 it failed, or something did not start; 2 the command was used wrongly;
3 the run was denied money; 130 it was stopped before its run had ended.

With --json what is told goes to standard error, and the last line of standard output is one JSON object: status, answer, failure
(code, message, action), denial (resource, the quota that denied, retryAfterSeconds), costUsd, quota and steps. A start that fails
has one too.

Ports are kept in the data folder for the next start. Data, ports and logs are in .spendlock/data, or where SPENDLOCK_DATA_DIR says.

Examples:
  npm start                                      serve until Ctrl-C; the first time, run the example too
  npm start -- --example                         run the example, then serve
  npm start -- --once --json                     run the example, print one JSON object as the last line, and end
  npm start -- --once --budget 0.01              see a denial
  npm start -- --task "Which month was best?" --file sales.csv`;

/** @throws UsageError that says what is wrong. */
export function parseStartOptions(argv: readonly string[]): StartOptions {
  const command = new Command('npm start --')
    .description(
      'Runs Spendlock on this machine: Temporal, Postgres, worker and API, and an agent run that is asked for.',
    )
    .option('--once', 'end after the run', false)
    .option('--json', 'print the run as one JSON object on the last line', false)
    .option('--example', 'run the example task', false)
    .option('--task <text>', 'a task of your own')
    .option('--file <path>', 'a file for the task')
    .option('--budget <usd>', 'run it for a fresh tenant with this budget, which goes at the end', amount)
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
    example: boolean;
    task?: string;
    file?: string;
    budget?: string;
    model?: string;
    allowLocalCode: boolean;
  }>();
  if (given.file !== undefined && given.task === undefined)
    throw new UsageError('--file needs a --task that says what to do with it. Nothing was started.');
  if (given.example && given.task !== undefined)
    throw new UsageError('--example and --task are two tasks: leave one out. Nothing was started.');
  const keys = realKeys(process.env);
  if (keys.length > 0 && (given.once || given.budget !== undefined) && !given.example && given.task === undefined)
    throw new UsageError(
      `${keys.join(' and ')} ${keys.length === 1 ? 'is' : 'are'} set, so a run may cost real money, and is made only when it is asked for ` +
        'by --example or --task. Nothing was started.',
    );
  const callerDir = process.env.SPENDLOCK_CALLER_DIR ?? process.cwd();
  return {
    once: given.once,
    json: given.json,
    example: given.example,
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
