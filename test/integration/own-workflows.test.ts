/** Workflows of one's own with `spendlock/workflow`: the example, as it is published, against a stand-in for its service. */
import { randomUUID } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { DefaultLogger, Runtime } from '@temporalio/worker';
import type * as paidApi from '../../examples/paid-api/worker';
import { build } from '../../scripts/build';
import { TestStack } from '../support/stack';

describe('a workflow of one’s own', () => {
  let stack: TestStack;
  let service: Server;
  let worker: { shutdown(): Promise<void> };
  let lookups = 0;
  const taskQueue = `example-${randomUUID()}`;
  beforeAll(async () => {
    // What is tested is what others import: the built package, by its name.
    build();
    // Refusals are what is tested; Temporal need not tell of them too.
    Runtime.install({ logger: new DefaultLogger('ERROR', () => undefined) });
    stack = await TestStack.start();
    service = createServer((request, response) => {
      response.setHeader('x-spendlock-stand-in', 'geocoder');
      const address = new URL(request.url ?? '', 'http://x').searchParams.get('address');
      if (address === 'nowhere') return void response.writeHead(404).end();
      if (address === 'busy' && lookups++ === 0) return void response.writeHead(429).end();
      lookups += 1;
      response.end(JSON.stringify({ position: `position of ${address}` }));
    });
    await new Promise<void>((resolve) => service.listen(0, '127.0.0.1', resolve));
    const example = jest.requireActual<typeof paidApi>('../../examples/paid-api/worker');
    worker = await example.startExampleWorker({
      address: process.env.SPENDLOCK_TEST_TEMPORAL_ADDRESS ?? '',
      databaseUrl: stack.database.appUrl,
      serviceUrl: `http://127.0.0.1:${(service.address() as AddressInfo).port}`,
      taskQueue,
      taskQueuePrefix: stack.prefix,
    });
  });
  afterAll(async () => {
    await worker.shutdown();
    await stack.stop();
    service.close();
  });
  beforeEach(() => {
    lookups = 0;
  });

  const locate = (tenantId: string, addresses: string[]): Promise<{ located: unknown[]; stoppedBy?: string }> =>
    stack.temporal.workflow.execute('locateAll', {
      workflowId: `locate/${randomUUID()}`,
      taskQueue,
      args: [{ tenantId, addresses }],
    });

  test('pays exactly for what it looked up', async () => {
    const tenantId = await stack.tenant('1');
    expect(await locate(tenantId, ['a', 'b', 'c'])).toEqual({
      located: ['a', 'b', 'c'].map((address) => ({ address, position: `position of ${address}` })),
    });
    expect(await stack.books(tenantId)).toEqual({
      ledgerUsd: '0.015',
      spentUsd: '0.015',
      reservedUsd: '0',
      openReservations: 0,
    });
  });

  test('stops at its budget, having made no call that it could not pay for', async () => {
    const tenantId = await stack.tenant('0.012');
    const { located, stoppedBy } = await locate(tenantId, ['a', 'b', 'c', 'd']);
    expect(located).toHaveLength(2);
    expect(stoppedBy).toContain('quota of $0.012');
    expect(lookups).toBe(2);
    expect(await stack.books(tenantId)).toMatchObject({ spentUsd: '0.01', reservedUsd: '0', openReservations: 0 });
  });

  test('pays nothing for a call that was not billed, and tries it again where that may help', async () => {
    const tenantId = await stack.tenant('1');
    expect((await locate(tenantId, ['busy'])).located).toHaveLength(1);
    await expect(locate(tenantId, ['nowhere'])).rejects.toThrow();
    expect(await stack.books(tenantId)).toMatchObject({ spentUsd: '0.005', reservedUsd: '0', openReservations: 0 });
  });
});
