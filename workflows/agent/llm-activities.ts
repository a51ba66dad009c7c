/** The activities of models as a run and a turn ask for them, and how long each may take. */
import { ActivityCancellationType, proxyActivities, type ActivityInterfaceFor } from '@temporalio/workflow';
import type { LlmActivities } from '../../contracts/llm';
import { withinTheTask } from '../within-the-task';

/** A model call may take this long; its activity has as long again as writing may take, its reservation a margin more. */
export const modelCallSecondsMax = 600;
const writingSecondsMax = 300;
export const expiryMarginSeconds = 60;
export const callSecondsMax = modelCallSecondsMax + writingSecondsMax;

/** On a queue, unless the paid ones are told another. */
export function llmActivities(taskQueue: string): {
  quick: Pick<LlmActivities, 'prepareQuickly'>;
  free: LlmActivities;
  paid: ActivityInterfaceFor<LlmActivities>;
} {
  return {
    quick: withinTheTask<LlmActivities>(),
    free: proxyActivities<LlmActivities>({
      taskQueue,
      startToCloseTimeout: '60 seconds',
      retry: { initialInterval: '500 milliseconds', maximumInterval: '30 seconds' },
    }),
    paid: proxyActivities<LlmActivities>({
      taskQueue,
      startToCloseTimeout: callSecondsMax * 1_000,
      // By then its reservation has run out.
      scheduleToStartTimeout: (callSecondsMax + expiryMarginSeconds) * 1_000,
      heartbeatTimeout: '15 seconds',
      cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
      retry: { maximumAttempts: 1 },
    }),
  };
}
