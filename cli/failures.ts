/**
 * How a command says that it failed: in words on standard error, with --json also as one value on standard output, and by its
 * exit status.
 */
import { CommanderError, InvalidArgumentError } from 'commander';
import { SpendlockApiError, UnreachableError } from '../client/errors';
import { omitUndefined } from '../core/omit-undefined';
import { actionOf } from './actions';
import { printable } from './output';
import { lookAt, unanswered } from './orders';
import { askedApi, EnvironmentError } from './target';

/** What exit statuses mean, everywhere. `npm start` has the same. */
export const exitStatuses = {
  done: 0,
  failed: 1,
  wrongUse: 2,
  denied: 3,
  interrupted: 130,
} as const;

export const exitStatusHelp = 'Exit statuses: 0 done, 1 failed or refused, 2 wrong use, 3 denied money, 130 Ctrl-C.';

/** The command itself refuses, or nobody answered. The message says what happened and what to do. */
export class CommandError extends Error {
  constructor(
    message: string,
    readonly code = 'refused',
  ) {
    super(message);
  }
}

/** What goes out as `{"error": …}`: the API's own body, whose code is named so. */
export interface Failure {
  code: string;
  message: string;
  action?: string;
  [more: string]: unknown;
}

export function failureOf(error: unknown): Failure {
  if (error instanceof SpendlockApiError) {
    const { error: code = error.code, message = error.message, ...more } = error.body;
    return {
      code: String(code),
      message: String(message),
      ...more,
      ...omitUndefined({ action: actionOf(String(code), more) }),
    };
  }
  if (error instanceof CommandError) return { code: error.code, message: error.message };
  if (error instanceof CommanderError)
    return { code: 'wrong_use', message: error.message.replace(/^error: /, '').trim() };
  if (error instanceof EnvironmentError) return { code: 'wrong_use', message: error.message };
  if (error instanceof UnreachableError) return unreachable(error);
  if (error instanceof TypeError && error.message === cutOff)
    return { code: 'unreachable', message: `${askedApi().apiUrl} broke off in the middle of its answer.` };
  if (error instanceof Error && /^Cannot find module '[^./]/.test(error.message)) return notInstalled;
  return { code: 'failed', message: error instanceof Error ? error.message : String(error) };
}

/** Nobody answered. An order may have been carried out all the same. */
function unreachable({ reason }: UnreachableError): Failure {
  const order = unanswered();
  const next = order
    ? `Whether it was carried out is not known. Before you order it again, see: npx spendlock ${lookAt(order).join(' ')}`
    : 'Nothing was changed: run the command again once it answers.';
  return { code: 'unreachable', message: `${askedApi().apiUrl} did not answer (${reason}). ${next}` };
}

/** Of the package, whose other commands need nothing beside it. */
const notInstalled: Failure = {
  code: 'not_installed',
  message: `This command speaks to Temporal and Postgres itself, and their packages are not installed here. Nothing was done.
npm install @temporalio/client @temporalio/common @temporalio/envconfig @temporalio/proto @temporalio/workflow pg @opentelemetry/api`,
};

/** As `fetch` throws it in the middle of an answer that is read as it comes. */
const cutOff = 'terminated';

/** What the API takes for a mistake of who asks, as the command line does before it asks. */
const wrongUseCodes = ['wrong_use', 'invalid_request', 'invalid_amount'];

export function exitStatusOf({ code }: Failure): number {
  if (wrongUseCodes.includes(code)) return exitStatuses.wrongUse;
  if (code === 'interrupted') return exitStatuses.interrupted;
  return code === 'quota_exceeded' ? exitStatuses.denied : exitStatuses.failed;
}

/** Whether a command line asks for one JSON value. */
export const wantsJson = (argv: string[]): boolean =>
  (argv.includes('--') ? argv.slice(0, argv.indexOf('--')) : argv).includes('--json');

/** Says what went wrong, and answers the exit status. */
export function tell(error: unknown, { json = false }: { json?: boolean }): number {
  if (error instanceof CommanderError && error.exitCode === 0) return exitStatuses.done;
  const failure = failureOf(error);
  // Commander has said in words what it found by itself, but for what an action threw.
  if (error instanceof InvalidArgumentError) console.error(`error: ${failure.message} Nothing was done.`);
  else if (!(error instanceof CommanderError)) console.error(printable(wordsOf(error, failure), { lines: true }));
  if (json) console.log(printable(JSON.stringify({ error: failure })));
  return exitStatusOf(failure);
}

const wordsOf = (error: unknown, { code, message, action }: Failure): string =>
  error instanceof SpendlockApiError ? [`${code}: ${message}`, action].filter(Boolean).join('\n') : message;
