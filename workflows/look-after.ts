/**
 * What an installation does for its tenants beside their own authorities. A schedule starts it every minute: an authority
 * that was terminated, or whose timer was lost with it, is woken when something of its tenant is overdue, and the
 * platform's spend is compared with its thresholds.
 */
import { proxyActivities } from '@temporalio/workflow';
import type { LookAfterActivities } from '../activities/contracts/budget';

const { wakeSleepers } = proxyActivities<LookAfterActivities>({
  startToCloseTimeout: '30 seconds',
  scheduleToCloseTimeout: '50 seconds',
});

export async function lookAfter(): Promise<{ woken: number }> {
  return { woken: await wakeSleepers() };
}
