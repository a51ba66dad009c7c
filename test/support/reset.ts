/** Temporal's reset of a workflow: what it did since is done again, by another execution. */
import { randomUUID } from 'node:crypto';
import { isGrpcServiceError } from '@temporalio/client';
import { until, type TestStack } from './stack';

/** Of gRPC: what was asked does not fit what is there. */
const invalidArgument = 3;

type Stack = Pick<TestStack, 'temporal'>;

/** Resets to just after a workflow task, the first of which is 0; to the last where there are fewer. */
export async function resetToTask({ temporal }: Stack, workflowId: string, nth: number): Promise<void> {
  await until('it is reset', async () => {
    const { events } = await temporal.workflow.getHandle(workflowId).fetchHistory();
    const completed = (events ?? []).filter(({ workflowTaskCompletedEventAttributes: done }) => done);
    const last = completed[Math.min(nth, completed.length - 1)];
    if (!last?.eventId) return false;
    try {
      await temporal.workflowService.resetWorkflowExecution({
        ...{ namespace: 'default', workflowExecution: { workflowId }, reason: 'a test', requestId: randomUUID() },
        workflowTaskFinishEventId: last.eventId,
      });
      return true;
    } catch (error) {
      // It continued as new since it was looked at, and has no such event yet.
      if (isGrpcServiceError(error) && Number(error.code) === invalidArgument) return false;
      throw error;
    }
  });
}

/** The same to the first of them. */
export const resetToBegin = (stack: Stack, workflowId: string): Promise<void> => resetToTask(stack, workflowId, 0);
