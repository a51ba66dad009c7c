/**
 * Bundles the workflows as a worker does: what cannot run inside Temporal's sandbox is refused here. Writes to a file if one is
 * named, and bundles other workflows than ours if a second path names them.
 */
import { writeFileSync } from 'node:fs';
import { startTelemetry } from '../telemetry/start';
import { bundleWorkflows } from '../workers/workers';

const [, , file, workflows] = process.argv;
void bundleWorkflows(startTelemetry('bundle'), workflows === undefined ? {} : { path: workflows }).then(({ code }) => {
  if (file !== undefined) writeFileSync(file, code);
  console.log(`The workflow bundle has ${Math.round(code.length / 1024)} KiB.`);
  process.exit(0);
});
