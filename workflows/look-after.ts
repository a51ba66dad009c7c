/**
 * What an installation does for its tenants beside their own authorities. A schedule starts it every minute: an authority
 * that was terminated, or whose timer was lost with it, is woken when something of its tenant is overdue, the platform's
 * spend is compared with its thresholds, and runs whose workflow is gone are ended on record.
 */
import { patched, proxyActivities } from '@temporalio/workflow';
import type { LookAfterActivities } from '../activities/contracts/budget';

const { wakeSleepers, endLostRuns } = proxyActivities<LookAfterActivities>({
  startToCloseTimeout: '30 seconds',
  scheduleToCloseTimeout: '50 seconds',
});

export async function lookAfter(): Promise<{ woken: number; lost?: number }> {
  if (!patched('lost-runs')) return { woken: await wakeSleepers() };
  const [woken, lost] = await Promise.all([wakeSleepers(), endLostRuns()]);
  return { woken, lost };
}
