/**
 * A process that runs the workers of one test file after another: the code is loaded, compiled and warm once for all of them.
 * Each file's workers are its own, with its own database, task queues and log, and have ended before the next file's begin.
 * Their workflows run in this process's own thread, since a thread takes as long to start as all the rest. Workers that have a
 * process of their own (worker-process.ts) have threads, as has the product wherever a test starts it as it ships.
 */
import { startTelemetry } from '../../telemetry/start';
import type { Logger } from '../../telemetry/log';
import { workerConfig } from '../../workers/config';
import { createWorkerLog } from '../../workers/log';
import { installRuntime } from '../../workers/runtime';
import { startWorkers, type RunningWorkers } from '../../workers/workers';

export type HostRequest =
  | { id: number; order: 'start'; environment: NodeJS.ProcessEnv; workflowBundle: string; logFile: string }
  | { id: number; order: 'stop' };

/** What became of the workers that were started by that number. */
export type HostAnswer = { id: number; state: 'started' | 'ended' } | { id: number; state: 'failed'; why: string };

const logs = new Map<number, Logger>();
const started = new Map<number, RunningWorkers>();
const levels = ['debug', 'info', 'warn', 'error'] as const;
/** What Temporal's SDK says concerns those that run now; it does not say which. */
const logOfAll = Object.fromEntries(
  levels.map((level) => [level, (...line: never) => logs.forEach((log) => log[level](...(line as [string])))]),
) as Logger;

installRuntime(logOfAll, { temporalMetricsPort: undefined });
const telemetry = startTelemetry('test-worker');
const say = (answer: HostAnswer): void => void process.send?.(answer);

async function start({ id, environment, workflowBundle, logFile }: HostRequest & { order: 'start' }): Promise<void> {
  const config = workerConfig(environment);
  const log = createWorkerLog(config.logLevel, { destination: logFile });
  logs.set(id, log);
  const workers = await startWorkers({
    config,
    log,
    telemetry,
    workflowBundle: { codePath: workflowBundle },
    workerOptions: { debugMode: true },
  });
  started.set(id, workers);
  say({ id, state: 'started' });
  await workers.finished;
}

process.on('message', (request: HostRequest) => {
  const { id } = request;
  if (request.order === 'stop')
    return void started
      .get(id)
      ?.shutdown()
      .catch(() => undefined);
  start(request)
    .then(
      () => say({ id, state: 'ended' }),
      (error: unknown) => say({ id, state: 'failed', why: error instanceof Error ? `${error.stack}` : String(error) }),
    )
    .finally(() => {
      logs.delete(id);
      started.delete(id);
    });
});
process.once('disconnect', () => process.exit(0));
