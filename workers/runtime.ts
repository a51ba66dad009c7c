/** Temporal's runtime of a worker process: where its own messages and metrics go. */
import { DefaultLogger, Runtime } from '@temporalio/worker';
import type { Logger } from '../telemetry/log';
import { temporalMetrics } from '../telemetry/temporal';
import type { WorkerConfig } from './config';
import { logOfTemporal } from './log';

/** Is called once, before anything of Temporal's is used. Shutting down is ours to order. */
export function installRuntime(
  log: Logger,
  { temporalMetricsPort }: Pick<WorkerConfig, 'temporalMetricsPort'>,
  environment: NodeJS.ProcessEnv = process.env,
): void {
  const metrics = temporalMetrics(environment, temporalMetricsPort);
  Runtime.install({
    logger: new DefaultLogger('WARN', logOfTemporal(log)),
    telemetryOptions: {
      // What the native part says comes as a line of our log too, not as text of its own.
      logging: { filter: { core: 'WARN', other: 'ERROR' }, forward: {} },
      ...(metrics ? { metrics } : {}),
    },
    shutdownSignals: [],
  });
}
