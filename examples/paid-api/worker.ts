/** The worker of the example. Its budget activities and its own run on one task queue. */
import { Client, Connection } from '@temporalio/client';
import { NativeConnection, Worker } from '@temporalio/worker';
import { budgetForOwnWorker } from 'spendlock/worker';
import { createGeocodingActivities } from './activities';

export interface ExampleOptions {
  address: string;
  databaseUrl: string;
  serviceUrl: string;
  taskQueue: string;
  /** As the budget workers have it; `spendlock` unless it was changed. */
  taskQueuePrefix?: string;
}

/** Runs until `shutdown` is called. */
export async function startExampleWorker({
  address,
  databaseUrl,
  serviceUrl,
  taskQueue,
  taskQueuePrefix,
}: ExampleOptions) {
  const connection = await NativeConnection.connect({ address });
  const client = new Client({ connection: await Connection.connect({ address }) });
  const budget = budgetForOwnWorker({ databaseUrl, client, ...(taskQueuePrefix ? { taskQueuePrefix } : {}) });
  await budget.ready();
  const worker = await Worker.create({
    connection,
    taskQueue,
    workflowsPath: require.resolve('./workflow'),
    activities: { ...budget.activities, ...createGeocodingActivities(budget, serviceUrl) },
  });
  const running = worker.run();
  return {
    async shutdown() {
      worker.shutdown();
      await running;
      await budget.close();
      await client.connection.close();
      await connection.close();
    },
  };
}
