/** Temporal's reset of a workflow: what it did since is done again, by another execution. */
import { randomUUID } from 'node:crypto';
import type { TestStack } from './stack';

type Stack = Pick<TestStack, 'temporal'>;

/** Resets to just after a workflow task, the first of which is 0; to the last where there are fewer. */
export async function resetToTask({ temporal }: Stack, workflowId: string, nth: number): Promise<void> {
  const { events } = await temporal.workflow.getHandle(workflowId).fetchHistory();
  const completed = (events ?? []).filter(({ workflowTaskCompletedEventAttributes: done }) => done);
  await temporal.workflowService.resetWorkflowExecution({
    ...{ namespace: 'default', workflowExecution: { workflowId }, reason: 'a test', requestId: randomUUID() },
    workflowTaskFinishEventId: completed[Math.min(nth, completed.length - 1)]?.eventId ?? null,
  });
}

/** The same to the first of them. */
export const resetToBegin = (stack: Stack, workflowId: string): Promise<void> => resetToTask(stack, workflowId, 0);
