/**
 * A worker in a process of its own, as in production, that tests can kill. With SPENDLOCK_TEST_FAULT=point:file it ends
 * itself with SIGKILL when it reaches that point, once: the file is removed first. With SPENDLOCK_TEST_FORGETFUL it keeps no
 * workflow in memory, and so replays each from its history for every task. A test has few tenants: the workflows of a queue share
 * one thread, which starts sooner than production's four; those are there with SPENDLOCK_TEST_ALL_THREADS.
 */
import { existsSync, rmSync } from 'node:fs';
import type { FaultPoint } from '../../activities/budget/paid-calls';
import { startTelemetry } from '../../telemetry/start';
import { workerConfig } from '../../workers/config';
import { createWorkerLog } from '../../workers/log';
import { installRuntime } from '../../workers/runtime';
import { startWorkers } from '../../workers/workers';

async function main(): Promise<void> {
  const config = workerConfig(process.env);
  const [point, file = ''] = (process.env.SPENDLOCK_TEST_FAULT ?? '').split(':');
  const log = createWorkerLog(config.logLevel);
  installRuntime(log, config);
  const telemetry = startTelemetry('test-worker');
  const workers = await startWorkers({
    config,
    log,
    telemetry,
    ...(process.env.SPENDLOCK_TEST_BUNDLE ? { workflowBundle: { codePath: process.env.SPENDLOCK_TEST_BUNDLE } } : {}),
    workerOptions: {
      ...(process.env.SPENDLOCK_TEST_ALL_THREADS ? {} : { workflowThreadPoolSize: 1 }),
      ...(process.env.SPENDLOCK_TEST_FORGETFUL ? { maxCachedWorkflows: 0 } : {}),
    },
    atPoint: (reached: FaultPoint) => {
      if (reached !== point || !existsSync(file)) return;
      rmSync(file);
      process.kill(process.pid, 'SIGKILL');
    },
  });
  process.on('SIGTERM', () => void workers.shutdown());
  process.once('disconnect', () => process.exit(1));
  process.send?.('ready');
  await workers.finished;
  await telemetry.shutdown();
  process.exit(0);
}

void main();
