/**
 * What an installation does for its tenants beside their own authorities. A schedule starts it every minute: an authority
 * that was terminated, or whose timer was lost with it, is woken when something of its tenant is overdue, the platform's
 * spend is compared with its thresholds, runs whose workflow is gone are ended on record, and workflows are told of
 * messages and decisions of people that nobody told them of.
 */
import { proxyActivities } from '@temporalio/workflow';
import type { LookAfterActivities } from '../activities/contracts/budget';
import { isPatched } from './patches';

const { wakeSleepers, endLostRuns, ringConversations, tellDecisions } = proxyActivities<LookAfterActivities>({
  startToCloseTimeout: '30 seconds',
  scheduleToCloseTimeout: '50 seconds',
});

export async function lookAfter(): Promise<{ woken: number; lost?: number; rung?: number; told?: number }> {
  if (!isPatched('lost-runs')) return { woken: await wakeSleepers() };
  if (!isPatched('conversations')) {
    const [woken, lost] = await Promise.all([wakeSleepers(), endLostRuns()]);
    return { woken, lost };
  }
  if (!isPatched('decisions')) {
    const [woken, lost, rung] = await Promise.all([wakeSleepers(), endLostRuns(), ringConversations()]);
    return { woken, lost, rung };
  }
  const [woken, lost, rung, told] = await Promise.all([
    wakeSleepers(),
    endLostRuns(),
    ringConversations(),
    tellDecisions(),
  ]);
  return { woken, lost, rung, told };
}
