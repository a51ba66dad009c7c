/**
 * What an installation does for its tenants beside their own authorities, every minute: an authority
 * that was terminated, or whose timer was lost with it, is woken when something of its tenant is overdue, the platform's
 * spend is compared with its thresholds, runs whose workflow is gone are ended on record, and workflows are told of
 * messages and decisions of people that nobody told them of.
 */
import { proxyActivities } from '@temporalio/workflow';
import type { UpkeepActivities, UpkeepCounts } from '../../contracts/budget';
import { isPatched } from '../patches';
import { keepUp, type UpkeepInput } from './rounds';

const { lookAround, wakeSleepers, endLostRuns, ringConversations, tellDecisions } = proxyActivities<UpkeepActivities>({
  startToCloseTimeout: '30 seconds',
  scheduleToCloseTimeout: '50 seconds',
});

export async function lookAfter(input?: UpkeepInput): Promise<Partial<UpkeepCounts>> {
  return isPatched('upkeep') ? keepUp(input, { everySeconds: 60, round: () => lookAround() }) : lookOnce();
}

/** As it was when each look had an activity of its own, and each minute a workflow. */
async function lookOnce(): Promise<Partial<UpkeepCounts>> {
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
