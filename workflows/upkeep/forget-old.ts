/** Forgets what an installation keeps no longer: words after so many days, answers to requests that nobody repeats. Hourly. */
import { proxyActivities } from '@temporalio/workflow';
import type { Forgotten, RetentionActivities } from '../../contracts/retention';
import { isPatched } from '../patches';
import { keepUp, type UpkeepInput } from './rounds';

const activities = proxyActivities<RetentionActivities>({
  startToCloseTimeout: '50 minutes',
  scheduleToCloseTimeout: '55 minutes',
  heartbeatTimeout: '60 seconds',
});

export async function forgetOld(input?: UpkeepInput): Promise<Forgotten> {
  const round = (): Promise<Forgotten> => activities.forgetOld();
  return isPatched('upkeep') ? keepUp(input, { everySeconds: 3_600, round }) : round();
}
