/** Temporal's runtime of a worker process: where its own messages go. */
import { DefaultLogger, Runtime } from '@temporalio/worker';
import type { Logger } from '../telemetry/log';
import { logOfTemporal } from './log';

/** Is called once, before anything of Temporal's is used. Shutting down is ours to order. */
export function installRuntime(log: Logger): void {
  Runtime.install({
    logger: new DefaultLogger('WARN', logOfTemporal(log)),
    // What the native part says comes as a line of our log too, not as text of its own.
    telemetryOptions: { logging: { filter: { core: 'WARN', other: 'ERROR' }, forward: {} } },
    shutdownSignals: [],
  });
}
