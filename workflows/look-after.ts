/**
 * What an installation does for its tenants beside their own authorities. A schedule starts it every minute: an authority
 * that was terminated, or whose timer was lost with it, is woken when something of its tenant is overdue, the platform's
 * spend is compared with its thresholds, runs whose workflow is gone are ended on record, and conversations are told of
 * messages that nobody told them of.
 */
import { patched, proxyActivities } from '@temporalio/workflow';
import type { LookAfterActivities } from '../activities/contracts/budget';

const { wakeSleepers, endLostRuns, ringConversations } = proxyActivities<LookAfterActivities>({
  startToCloseTimeout: '30 seconds',
  scheduleToCloseTimeout: '50 seconds',
});

export async function lookAfter(): Promise<{ woken: number; lost?: number; rung?: number }> {
  if (!patched('lost-runs')) return { woken: await wakeSleepers() };
  if (!patched('conversations')) {
    const [woken, lost] = await Promise.all([wakeSleepers(), endLostRuns()]);
    return { woken, lost };
  }
  const [woken, lost, rung] = await Promise.all([wakeSleepers(), endLostRuns(), ringConversations()]);
  return { woken, lost, rung };
}
