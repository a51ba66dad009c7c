/**
 * `npm start`: everything on one machine. Starts a Temporal dev server, an embedded Postgres, the migrations, stand-ins where no
 * key is set, a worker and the API; at the first start, or when asked, runs an agent task on a file and shows what each step
 * reserved and cost; and serves until Ctrl-C.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { readText } from '../api/runs/text-file';
import { parseStartOptions, UsageError, type StartOptions } from './start/options';
import { startStack, type Stack } from './start/stack';
import { unreachableServices, type Unreachable } from './start/real-services';
import { exitStatusOf, exitStatusOfError, failedSummary, interruptedSummary, type RunSummary } from './start/summary';
import { planTask, runTask, whyNoRun } from './start/task';
import { endingWith } from './start/stops';
import { Progress } from './start/progress';
import { printRun, printAddresses } from './start/report';

/** One Ctrl-C may arrive more than once: from the terminal, and handed on by npm. */
const oneSignalMs = 300;

async function main(): Promise<number> {
  const options = parseStartOptions(process.argv.slice(2));
  const progress = new Progress(options);
  // What it writes is its user's alone.
  process.umask(0o077);
  if (options.file !== undefined && !existsSync(options.file)) {
    throw new UsageError(`There is no file ${options.file}. Nothing was started.`);
  }
  if (options.file !== undefined) {
    const read = await readText({ name: options.file, content: await readFile(options.file) });
    if ('why' in read) throw new UsageError(`${read.why} Nothing was started.`);
  }
  let stack: Stack | undefined;
  let ended: Ended;
  const interrupted = new AbortController();
  const atOnce = new AbortController();
  let firstMs = 0;
  const interrupt = (): void => {
    if (!interrupted.signal.aborted) {
      firstMs = Date.now();
      progress.line('Stopping … (again: at once)');
      interrupted.abort();
    } else if (Date.now() - firstMs > oneSignalMs) {
      progress.line('Stopped at once. What was paid for is kept; what was under way is settled at the next start.');
      atOnce.abort();
      process.exit(130);
    }
  };
  // The terminal that is closed, and the reader of a pipe that has read enough, stop it as Ctrl-C does: what is paid for is kept.
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt).on('SIGHUP', interrupt);
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', () => void (interrupted.signal.aborted || interrupt()));
  try {
    const looked = lookAtServices(progress);
    stack = await startStack(options, progress, { signal: interrupted.signal, atOnce: atOnce.signal });
    const used = useStack(stack, options, progress, { signal: interrupted.signal, unreachable: await looked });
    ended = await endingWith(interrupted.signal, used, 'The run had not ended when this was stopped.');
  } catch (error) {
    if (!interrupted.signal.aborted) throw error;
    progress.line(wordsOf(interruptedSummary(error)));
    ended = { summary: interruptedSummary(error), isTold: false };
  } finally {
    if (stack) {
      await stack.stop();
      progress.line('Stopped. The data is kept for the next start.');
    }
  }
  // The very last line, when nothing else is left to be said.
  if (ended.summary && !ended.isTold) tellProgram(options, ended.summary);
  return ended.summary === undefined ? 0 : exitStatusOf(ended.summary.status);
}

/** What is wrong and what to do, for a person. */
const wordsOf = ({ failure }: RunSummary): string => [failure?.message, failure?.action].filter(Boolean).join('\n');

const tellProgram = ({ json }: { json: boolean }, summary: RunSummary): void =>
  void (json && console.log(JSON.stringify(summary)));

/** Says at once which real services cannot be reached, while everything else starts. */
async function lookAtServices(progress: Progress): Promise<Unreachable[]> {
  const unreachable = await unreachableServices(process.env);
  progress.lines(unreachable.map(({ says }) => `✘ ${says}`));
  return unreachable;
}

interface Ended {
  /** Of its run, if there was one. */
  summary?: RunSummary;
  /** Whether it was printed already. */
  isTold: boolean;
}

async function useStack(
  stack: Stack,
  options: StartOptions,
  progress: Progress,
  { signal, unreachable }: { signal: AbortSignal; unreachable: readonly Unreachable[] },
): Promise<Ended> {
  progress.lines(stack.notices);
  const none = await whyNoRun(stack, options);
  if (none !== undefined) progress.line(`\n${none}`);
  const summary = none === undefined ? await run(stack, options, progress, { signal, unreachable }) : undefined;
  if (options.once || signal.aborted) return { ...(summary ? { summary } : {}), isTold: false };
  if (summary) tellProgram(options, summary);
  printAddresses(stack, options, progress);
  await stack.untilStopped(signal);
  return { ...(summary ? { summary } : {}), isTold: true };
}

/** The run, and what came of it. One that cannot be made is a failure of the start only where the start is for the run alone. */
async function run(
  stack: Stack,
  options: StartOptions,
  progress: Progress,
  { signal, unreachable }: { signal: AbortSignal; unreachable: readonly Unreachable[] },
): Promise<RunSummary> {
  try {
    const plan = await planTask(stack, options, unreachable);
    if (plan.maxCostNotice) progress.line(plan.maxCostNotice);
    const result = await runTask(stack, plan, progress, signal);
    if (!result) return interruptedSummary();
    printRun(result, options, progress);
    return result.summary;
  } catch (error) {
    if (options.once || signal.aborted) throw error;
    const summary = failedSummary(error);
    progress.line(`\n${wordsOf(summary)}`);
    return summary;
  }
}

main().then(
  (status) => process.exit(status),
  (error: unknown) => {
    const summary = failedSummary(error);
    process.stderr.write(`${wordsOf(summary)}\n`);
    tellProgram({ json: process.argv.includes('--json') }, summary);
    process.exit(exitStatusOfError(error));
  },
);
