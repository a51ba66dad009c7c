/** A worker of one's own for the workflows of limited-workflows.ts. */
import { randomUUID } from 'node:crypto';
import type { WorkflowHandleWithFirstExecutionRunId } from '@temporalio/client';
import { NativeConnection, Worker } from '@temporalio/worker';
import { startTelemetry } from '../../telemetry/start';
import { budgetForOwnWorker, type OwnWorker } from '../../workers/own-workers';
import { bundleWorkflows } from '../../workers/workers';
import type { LimitedActivities } from './limited-workflows';
import type { TestStack } from './stack';

export interface LimitedWorker {
  /** Starts one of the workflows there. */
  start: (type: string, ...args: unknown[]) => Promise<WorkflowHandleWithFirstExecutionRunId>;
  stop: () => Promise<void>;
}

const payAtOnce = (own: OwnWorker): LimitedActivities['pay'] => {
  return ({ costUsd, ...operation }) => own.paid(operation, () => Promise.resolve({ costUsd, result: 'paid' }));
};

/** `payBy` makes what its workflows pay by; at once and at the cost that they name where it is absent. */
export async function startLimitedWorker(
  stack: TestStack,
  {
    payBy = payAtOnce,
    environment = stack.workerEnvironment,
  }: { payBy?: typeof payAtOnce; environment?: NodeJS.ProcessEnv } = {},
): Promise<LimitedWorker> {
  const taskQueue = `limited-${randomUUID()}`;
  const own = budgetForOwnWorker({
    ...{ client: stack.temporal, databaseUrl: stack.database.appUrl, taskQueuePrefix: stack.prefix, environment },
  });
  const connection = await NativeConnection.connect({ address: process.env.SPENDLOCK_TEST_TEMPORAL_ADDRESS ?? '' });
  const worker = await Worker.create({
    connection,
    taskQueue,
    workflowBundle: await bundleWorkflows(startTelemetry('test'), { path: require.resolve('./limited-workflows') }),
    activities: { ...own.activities, pay: payBy(own) },
    // What was asked to stop hears of it at its next heartbeat.
    defaultHeartbeatThrottleInterval: '1 second',
  });
  const running = worker.run();
  return {
    start: (type, ...args) =>
      stack.temporal.workflow.start(type, { taskQueue, workflowId: `limited/${randomUUID()}`, args }),
    async stop() {
      worker.shutdown();
      await running;
      await connection.close();
      await own.close();
    },
  };
}
