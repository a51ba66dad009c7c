/** How a Temporal server of this machine shares tasks out that wait for a worker, and what waited when that changed. */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Connection } from '@temporalio/client';
import { priorityOf } from '../../contracts/messages';
import { startTemporal } from '../../scripts/embedded/temporal';

const namespace = 'default';
const taskQueue = { name: 'shared' };
const identity = 'test';

/** A server with the data of a folder, and somebody who starts workflows and takes their tasks. */
async function withServer(
  dbFile: string,
  settings: Record<string, boolean>,
  use: (server: {
    start: (count: number, type: 'agentRun' | 'conversation', tenantId: string) => Promise<void>;
    /** Takes tasks one at a time. Answers whose they were. */
    take: (count: number) => Promise<string[]>;
  }) => Promise<void>,
): Promise<void> {
  const temporal = await startTemporal({ dbFile, preferredPort: 0, settings, log: () => undefined });
  const connection = await Connection.connect({ address: temporal.address });
  const { workflowService: service } = connection;
  try {
    await use({
      async start(count, type, tenantId) {
        for (let at = 0; at < count; at += 1)
          await service.startWorkflowExecution({
            ...{ namespace, taskQueue, workflowType: { name: 'none' }, requestId: randomUUID() },
            ...{ workflowId: `${tenantId}/${randomUUID()}`, priority: priorityOf(type, tenantId) },
          });
      },
      async take(count) {
        const taken: string[] = [];
        while (taken.length < count) {
          const { taskToken, workflowExecution } = await connection.withDeadline(Date.now() + 60_000, () =>
            service.pollWorkflowTaskQueue({ namespace, taskQueue, identity }),
          );
          taken.push(workflowExecution?.workflowId?.split('/')[0] ?? '');
          await service.respondWorkflowTaskCompleted({ namespace, taskToken, identity });
        }
        return taken;
      },
    });
  } finally {
    await connection.close();
    await temporal.stop();
  }
}

test('what a person waits for goes first, then each tenant in turn; what waited before the server did so is not left', async () => {
  const dataDir = mkdtempSync(path.join(tmpdir(), 'spendlock-fair-'));
  const dbFile = path.join(dataDir, 'temporal.db');
  await withServer(dbFile, { 'matching.enableFairness': false }, async ({ start, take }) => {
    await start(12, 'agentRun', 'many');
    await start(4, 'agentRun', 'few');
    expect(await take(2)).toEqual(['many', 'many']);
  });
  await withServer(dbFile, {}, async ({ start, take }) => {
    const before = await take(14);
    expect(before.filter((tenantId) => tenantId === 'many')).toHaveLength(10);
    expect(before.filter((tenantId) => tenantId === 'few')).toHaveLength(4);

    await start(30, 'agentRun', 'many');
    await start(3, 'agentRun', 'few');
    await start(2, 'conversation', 'person');
    const taken = await take(35);
    // The first tasks are handed to the queue as they come, before anybody else is there.
    expect(taken.lastIndexOf('person')).toBeLessThan(6);
    expect(taken.lastIndexOf('few')).toBeLessThan(18);
  });
  rmSync(dataDir, { recursive: true, force: true, maxRetries: 20 });
});
