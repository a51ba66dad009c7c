/** Forgets what an installation keeps no longer: words after so many days, answers to requests that nobody repeats. Hourly. */
import { proxyActivities } from '@temporalio/workflow';
import type { Forgotten, RetentionActivities } from '../activities/contracts/retention';

const activities = proxyActivities<RetentionActivities>({
  startToCloseTimeout: '50 minutes',
  scheduleToCloseTimeout: '55 minutes',
  heartbeatTimeout: '60 seconds',
});

export async function forgetOld(): Promise<Forgotten> {
  return activities.forgetOld();
}
