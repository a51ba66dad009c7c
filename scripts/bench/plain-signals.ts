/** What as many signals as decisions take that do nothing: the measure of many tenants at once. */
import { randomUUID } from 'node:crypto';
import type { Client } from '@temporalio/client';
import { NativeConnection, Worker } from '@temporalio/worker';
import { startTelemetry } from '../../telemetry/start';
import { bundleWorkflows } from '../../workers/workers';
import { plainCounter, plainSignal, takenQuery } from './workflows';

const taskQueue = 'bench-plain-signals';
/** As many threads as authorities have. */
const workflowThreadPoolSize = 4;
/** Workflows that are begun and ended beside each other, which is not measured. */
const atOnce = 20;

/** So many signals to each of so many workflows, all sent at the same moment: milliseconds until each workflow had its own. */
export async function plainSignalsMs(
  temporal: Client,
  { temporalAddress, workflows, each }: { temporalAddress: string; workflows: number; each: number },
): Promise<number[]> {
  const connection = await NativeConnection.connect({ address: temporalAddress });
  const workflowBundle = await bundleWorkflows(startTelemetry('bench'), { path: require.resolve('./workflows') });
  const worker = await Worker.create({ connection, taskQueue, workflowBundle, workflowThreadPoolSize });
  try {
    return await worker.runUntil(async () => {
      const ids = Array.from({ length: workflows }, () => `bench-plain/${randomUUID()}`);
      const begin = async (workflowId: string): Promise<void> => {
        const handle = await temporal.workflow.start(plainCounter, { workflowId, taskQueue, args: [each] });
        // Once it answers its first task is done: it is warm.
        await handle.query(takenQuery);
      };
      for (let begun = 0; begun < ids.length; begun += atOnce)
        await Promise.all(ids.slice(begun, begun + atOnce).map(begin));
      const startedMs = performance.now();
      return Promise.all(
        ids.map(async (workflowId) => {
          const handle = temporal.workflow.getHandle<typeof plainCounter>(workflowId);
          await Promise.all(Array.from({ length: each }, () => handle.signal(plainSignal)));
          await handle.result();
          return performance.now() - startedMs;
        }),
      );
    });
  } finally {
    await connection.close();
  }
}
