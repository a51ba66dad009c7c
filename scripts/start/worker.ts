/** The worker of `npm start`: a process of its own, as it is in production; it ends when this one does. */
import { fork, type ChildProcess } from 'node:child_process';
import path from 'node:path';
import { LineWriter } from '../../telemetry/line-writer';
import { defaultTaskQueuePrefix } from '../../contracts/messages';
import { localEnvironment } from '../embedded/local-environment';
import { stopChild } from '../embedded/stop-child';

export interface StartWorkerOptions {
  databaseUrl: string;
  temporalAddress: string;
  dataDir: string;
  environment: Record<string, string>;
  /** Aborted when all is to stop. */
  signal: AbortSignal;
}

/** @throws Error with what it said when it ends while it starts, also because all is to stop. */
export async function startWorker(options: StartWorkerOptions): Promise<ChildProcess> {
  const { databaseUrl, temporalAddress, dataDir, environment, signal } = options;
  const child = fork(path.join(__dirname, '..', 'run.cjs'), [path.join(__dirname, '..', '..', 'workers', 'main.ts')], {
    execArgv: [],
    // Ctrl-C is for this process, which then stops the worker in its turn.
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    env: {
      ...localEnvironment(process.env),
      ...environment,
      DATABASE_URL: databaseUrl,
      TEMPORAL_ADDRESS: temporalAddress,
      TEMPORAL_NAMESPACE: 'default',
      SPENDLOCK_TASK_QUEUE_PREFIX: defaultTaskQueuePrefix,
      SPENDLOCK_SHUTDOWN_SECONDS: String(drainSeconds),
    },
  });
  let said = '';
  const logFile = new LineWriter(path.join(dataDir, 'spendlock.log'));
  child.stderr?.on('data', (data: Buffer) => {
    said = (said + data.toString()).slice(-2_000);
    logFile.write(data.toString());
  });
  const giveUp = (): void => void stopChild(child, [{ signal: 'SIGTERM', forMs: drainStartingMs }]);
  signal.addEventListener('abort', giveUp);
  await new Promise<void>((resolve, reject) => {
    child.once('message', () => resolve());
    child.once('exit', (code) =>
      reject(new Error(`The worker ended while it started (status ${code ?? 'none'}):\n${said}`)),
    );
  }).finally(() => signal.removeEventListener('abort', giveUp));
  child.removeAllListeners('exit');
  return child;
}

const drainSeconds = 10;
/** One that has just begun with what was left over: less than a start that is to stop may take. */
const drainStartingMs = 7_000;
/** It drains, and is killed when it does not end. */
const drainMaxMs = (drainSeconds + 5) * 1_000;
/** What stopping it takes at most: a little more than until it is killed. */
export const workerStopMaxMs = drainMaxMs + 5_000;

export const stopWorker = (worker: ChildProcess): Promise<void> =>
  stopChild(worker, [{ signal: 'SIGTERM', forMs: drainMaxMs }]);
