/** The activities of budgets as a workflow asks for them, and how long each is waited for. */
import {
  proxyActivities,
  workflowInfo,
  type ActivityInterfaceFor,
  type LocalActivityInterfaceFor,
} from '@temporalio/workflow';
import type { BudgetActivities, OpenEnvelope, ReserveRequest } from '../../contracts/budget';
import type { ReserveAnswer } from '../../core/budget/commands';
import { failureWith, isCancellation } from '../failures';
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

/**
 * The authority's answer: within the task that asks when it comes at once, as it nearly always does, and otherwise by an
 * activity that stays open for as long as it takes. Both ask under the same operation id.
 */
export async function answerTo(
  request: ReserveRequest,
  { scope, ...asked }: AskedActivities & { scope: BudgetScope },
): Promise<ReserveAnswer> {
  const summary = `$${request.amountUsd} for ${request.kind}`;
  const answer = await orNull(asked.quick.reserveQuickly.executeWithOptions({ summary }, [request]));
  if (answer) return answer;
  return asked.patient.reserve.executeWithOptions({ summary }, [request]).catch((error: unknown) => {
    if (isCancellation(error) || !scope.unavailable) throw error;
    return withoutAnswer(request, { scope, activities: asked.activities });
  });
}

/** The authority did not answer in time: the policy's turn. What it decides after all is released, or found on record. */
async function withoutAnswer(
  request: ReserveRequest,
  { scope: { tenantId, unavailable }, activities }: Pick<AskedActivities, 'activities'> & { scope: BudgetScope },
): Promise<ReserveAnswer> {
  if (unavailable?.then === 'allow') return activities.allowUnreserved(request);
  await activities.release({ tenantId, operationId: request.operationId });
  throw failureWith(
    'authority_unavailable',
    `The budget authority did not answer within ${unavailable?.afterMs} ms, and the policy is to stop then. Nothing is held.`,
  );
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
