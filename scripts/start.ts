/**
 * `npm start`: everything on one machine, and a first run. Starts a Temporal dev server, an embedded Postgres, the
 * migrations, stand-ins where no key is set, a worker and the API; runs an agent task on a file; shows what each step
 * reserved and cost; and serves until Ctrl-C.
 */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { whyNoText } from '../api/runs/text-file';
import { ConfigError } from '../temporal/environment';
import { parseStartOptions, UsageError, type StartOptions } from './start/options';
import { startStack, type Stack } from './start/stack';
import { exitStatusOf, planTask, runTask, type RunSummary } from './start/task';
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
    const why = await whyNoText({ name: options.file, content: await readFile(options.file) });
    if (why !== undefined) throw new UsageError(`${why} Nothing was started.`);
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
    stack = await startStack(options, progress, { signal: interrupted.signal, atOnce: atOnce.signal });
    const used = useStack(stack, options, progress, interrupted.signal);
    ended = await endingWith(interrupted.signal, used, 'The run had not ended when this was stopped.');
  } finally {
    if (stack) {
      await stack.stop();
      progress.line('Stopped. The data is kept for the next start.');
    }
  }
  // The very last line, when nothing else is left to be said.
  if (options.once && options.json && ended.summary) console.log(JSON.stringify(ended.summary));
  return ended.status;
}

interface Ended {
  status: number;
  summary?: RunSummary;
}

async function useStack(stack: Stack, options: StartOptions, progress: Progress, signal: AbortSignal): Promise<Ended> {
  const plan = await planTask(stack, options);
  progress.lines(stack.notices);
  if (plan.maxCostNotice) progress.line(plan.maxCostNotice);
  const result = await runTask(stack, plan, progress, signal);
  if (signal.aborted && !result) return { status: 130 };
  if (result) printRun(result, options, progress);
  if (!options.once && !signal.aborted) {
    if (result && options.json) console.log(JSON.stringify(result.summary));
    printAddresses(stack, progress);
    await stack.untilStopped(signal);
  }
  return { status: result ? exitStatusOf(result.summary.status) : 1, ...(result ? { summary: result.summary } : {}) };
}

main().then(
  (status) => process.exit(status),
  (error: unknown) => {
    const isUsage = error instanceof UsageError || error instanceof ConfigError;
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    if (process.argv.includes('--json')) {
      console.log(JSON.stringify({ status: 'failed', error: error instanceof Error ? error.message : String(error) }));
    }
    process.exit(isUsage ? 2 : 1);
  },
);
