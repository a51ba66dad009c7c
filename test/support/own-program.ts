/** A worker and a client as users write them, which know of the installation what `npx spendlock env` gave them. */
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Client, Connection } from '@temporalio/client';
import { createSpendlockClient } from 'spendlock/client';
import { startExampleWorker } from '../../examples/paid-api/worker';

const given = (name: string): string => process.env[name] ?? `${name} is not set`;

async function main(): Promise<void> {
  const tenantId = 'demo';
  const spendlock = createSpendlockClient({ baseUrl: given('SPENDLOCK_API_URL'), apiKey: given('SPENDLOCK_API_KEY') });
  const reserved = await spendlock.withReservation({ resource: 'llm', amountUsd: '0.05', tenantId }, ({ grantedUsd }) =>
    Promise.resolve({ costUsd: '0.002', value: grantedUsd }),
  );

  const service = createServer((_request, response) => response.end(JSON.stringify({ position: 'here' })));
  await new Promise<void>((resolve) => service.listen(0, '127.0.0.1', resolve));
  const address = given('TEMPORAL_ADDRESS');
  const taskQueue = `own-${randomUUID()}`;
  const worker = await startExampleWorker({
    ...{ address, taskQueue, databaseUrl: given('DATABASE_URL') },
    taskQueuePrefix: given('SPENDLOCK_TASK_QUEUE_PREFIX'),
    serviceUrl: `http://127.0.0.1:${(service.address() as AddressInfo).port}`,
  });
  const connection = await Connection.connect({ address });
  const temporal = new Client({ connection, namespace: given('TEMPORAL_NAMESPACE') });
  const located: unknown = await temporal.workflow.execute('locateAll', {
    ...{ workflowId: taskQueue, taskQueue },
    args: [{ tenantId, addresses: ['a', 'b'] }],
  });
  await worker.shutdown();
  await connection.close();
  service.close();
  console.log(JSON.stringify({ reserved, located }));
}

void main();
