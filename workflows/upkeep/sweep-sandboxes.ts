/** Ends sandboxes that were left behind, every two minutes. */
import { proxyActivities, workflowInfo } from '@temporalio/workflow';
import type { SweepActivities } from '../../contracts/sandbox';
import { siblingQueues } from '../../contracts/messages';
import { isPatched } from '../patches';
import { keepUp, type UpkeepInput } from './rounds';

export async function sweepSandboxes(input?: UpkeepInput): Promise<{ swept: number }> {
  const activities = proxyActivities<SweepActivities>({
    taskQueue: siblingQueues(workflowInfo().taskQueue).sandbox,
    startToCloseTimeout: '90 seconds',
    scheduleToCloseTimeout: '110 seconds',
    heartbeatTimeout: '15 seconds',
  });
  const round = async (): Promise<{ swept: number }> => ({ swept: await activities.sweepSandboxes() });
  return isPatched('upkeep') ? keepUp(input, { everySeconds: 120, round }) : round();
}
