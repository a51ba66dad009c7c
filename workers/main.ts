/** A worker process: `npm run worker`. Configured by its environment; drains on SIGTERM, SIGINT and SIGHUP. */
import { endWithin } from '../telemetry/end-within';
import { DatabaseRefusedError, lookAtDatabase } from '../store/first-look';
import { startTelemetry } from '../telemetry/start';
import { ConfigError } from '../temporal/environment';
import { workerConfig } from './config';
import { createWorkerLog } from './log';
import { installRuntime } from './runtime';
import { startWorkers } from './workers';

/** After what is under way was given its time: what is left is cancelled and told, and connections are closed. */
const closeMaxSeconds = 15;

async function main(): Promise<void> {
  const config = workerConfig(process.env);
  const log = createWorkerLog(config.logLevel);
  const away = await lookAtDatabase(config.databaseUrl);
  if (away !== undefined) log.error(away);
  installRuntime(log, config);
  const telemetry = startTelemetry('spendlock-worker');
  const workers = await startWorkers({ config, log, telemetry });
  const stop = (signal: string): void => {
    log.info({ signal }, 'draining');
    endWithin((config.shutdownSeconds + closeMaxSeconds) * 1000, log);
    workers.shutdown().catch(() => undefined);
  };
  process.once('SIGTERM', stop).once('SIGINT', stop).once('SIGHUP', stop);
  // Whoever started it learns when it is ready, and takes it along when it goes.
  if (process.send) {
    process.send('ready');
    process.once('disconnect', () => stop('disconnect'));
  }
  await workers.finished;
  await telemetry.shutdown();
  log.info('worker stopped');
  if (process.connected) process.disconnect();
}

main().catch((error: unknown) => {
  const isRefused = error instanceof DatabaseRefusedError;
  const text = isRefused ? `The worker was not started: ${error.message}` : `The worker failed: ${String(error)}`;
  process.stderr.write(`${error instanceof ConfigError ? error.message : text}\n`);
  process.exit(isRefused || error instanceof ConfigError ? 2 : 1);
});
