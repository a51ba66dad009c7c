/** Bundles the workflows as a worker does: what cannot run inside Temporal's sandbox is refused here. */
import { startTracing } from '../telemetry/tracing';
import { bundleWorkflows } from '../workers/workers';

void bundleWorkflows(startTracing('check')).then(({ code }) => {
  console.log(`The workflow bundle has ${Math.round(code.length / 1024)} KiB.`);
  process.exit(0);
});
