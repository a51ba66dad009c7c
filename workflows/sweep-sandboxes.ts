/** Ends sandboxes that were left behind. A schedule starts it every two minutes. */
import { proxyActivities, workflowInfo } from '@temporalio/workflow';
import type { SweepActivities } from '../activities/contracts/sandbox';
import { siblingQueues } from './messages';

export async function sweepSandboxes(): Promise<{ swept: number }> {
  const activities = proxyActivities<SweepActivities>({
    taskQueue: siblingQueues(workflowInfo().taskQueue).sandbox,
    startToCloseTimeout: '90 seconds',
    scheduleToCloseTimeout: '110 seconds',
    heartbeatTimeout: '15 seconds',
  });
  return { swept: await activities.sweepSandboxes() };
}
