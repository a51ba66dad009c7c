/** Bundles the workflows as a worker does: what cannot run inside Temporal's sandbox is refused here. Writes to a file if one is named. */
import { writeFileSync } from 'node:fs';
import { startTelemetry } from '../telemetry/start';
import { bundleWorkflows } from '../workers/workers';

void bundleWorkflows(startTelemetry('bundle')).then(({ code }) => {
  const file = process.argv[2];
  if (file !== undefined) writeFileSync(file, code);
  console.log(`The workflow bundle has ${Math.round(code.length / 1024)} KiB.`);
  process.exit(0);
});
