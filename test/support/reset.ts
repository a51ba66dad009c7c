/** Temporal's reset of a workflow: what it did since is done again, by another execution. */
import { randomUUID } from 'node:crypto';
import type { TestStack } from './stack';

/** Resets to just after the first workflow task. */
export async function resetToBegin({ temporal }: Pick<TestStack, 'temporal'>, workflowId: string): Promise<void> {
  const { events } = await temporal.workflow.getHandle(workflowId).fetchHistory();
  const first = (events ?? []).find(({ workflowTaskCompletedEventAttributes: done }) => done);
  await temporal.workflowService.resetWorkflowExecution({
    ...{ namespace: 'default', workflowExecution: { workflowId }, reason: 'a test', requestId: randomUUID() },
    workflowTaskFinishEventId: first?.eventId ?? null,
  });
}
