/** The activities of budgets as a workflow asks for them, and how long each is waited for. */
import {
  proxyActivities,
  workflowInfo,
  type ActivityInterfaceFor,
  type LocalActivityInterfaceFor,
} from '@temporalio/workflow';
import type { BudgetActivities, OpenEnvelope } from '../../contracts/budget';
import { isPatched } from '../patches';
import { orNull, withinTheTask } from '../within-the-task';
import { aheadOf } from './ahead';
import type { BudgetScope } from './paid-step';

export interface AskedActivities {
  activities: Omit<BudgetActivities, 'reserve' | 'reserveQuickly' | 'settleQuickly'>;
  /** Waits for an answer for as long as the scope says. */
  patient: ActivityInterfaceFor<Pick<BudgetActivities, 'reserve'>>;
  /** Within the task that asks. */
  quick: LocalActivityInterfaceFor<Pick<BudgetActivities, 'reserveQuickly' | 'settleQuickly' | 'findEnvelope'>>;
}

export function budgetActivities({ unavailable }: Pick<BudgetScope, 'unavailable'>): AskedActivities {
  const { taskQueue } = workflowInfo();
  return {
    // Nothing else notices a lost request, so a reserve is repeated until it is answered. Each repeat is answered from the record.
    patient: proxyActivities<BudgetActivities>({
      taskQueue,
      startToCloseTimeout: '30 seconds',
      ...(unavailable ? { scheduleToCloseTimeout: unavailable.afterMs } : {}),
      retry: { initialInterval: '200 milliseconds', maximumInterval: '15 seconds' },
    }),
    quick: withinTheTask<BudgetActivities>(),
    activities: proxyActivities<BudgetActivities>({
      taskQueue,
      priority: aheadOf(workflowInfo()),
      startToCloseTimeout: '60 seconds',
      heartbeatTimeout: '15 seconds',
      retry: { initialInterval: '200 milliseconds', maximumInterval: '15 seconds' },
    }),
  };
}

/** The envelope that an execution of the same run before a reset reserved, and that is open still; undefined where there is none. */
export async function envelopeHeld(
  { tenantId, runId }: Pick<BudgetScope, 'tenantId' | 'runId'>,
  { quick, activities }: Pick<AskedActivities, 'quick' | 'activities'>,
): Promise<OpenEnvelope | undefined> {
  if (runId === undefined || !isPatched('envelope-kept')) return undefined;
  const run = { tenantId, runId };
  return ((await orNull(quick.findEnvelope(run))) ?? (await activities.findEnvelope(run))).open;
}
