/** What an installation does every minute, in Temporal's list of workflows: one line of each kind. */
import { randomUUID } from 'node:crypto';
import { ScheduleOverlapPolicy } from '@temporalio/client';
import type { temporal } from '@temporalio/proto';
import { TestStack, until } from '../support/stack';
import { scheduleIds } from '../../workers/schedules';
import { taskQueues } from '../../contracts/messages';

describe('upkeep', () => {
  let stack: TestStack;
  let queue: string;
  beforeAll(async () => {
    stack = await TestStack.start({ worker: false });
    ({ budget: queue } = taskQueues(stack.prefix));
  });
  afterAll(() => stack.stop());

  const listed = async (workflowType: string): Promise<{ workflowId: string; status: string }[]> => {
    const found: { workflowId: string; status: string }[] = [];
    const query = `WorkflowType = "${workflowType}" AND TaskQueue = "${queue}"`;
    for await (const { workflowId, status } of stack.temporal.workflow.list({ query }))
      found.push({ workflowId, status: status.name });
    return found;
  };
  const details = async (workflowId: string): Promise<string> => {
    const metadata = await stack.temporal.workflow
      .getHandle(workflowId)
      .query<temporal.api.sdk.v1.IWorkflowMetadata>('__temporal_workflow_metadata');
    return metadata.currentDetails ?? '';
  };
  const executionsOf = async (scheduleId: string): Promise<{ workflowId: string; firstExecutionRunId: string }[]> =>
    (await stack.temporal.schedule.getHandle(scheduleId).describe()).info.runningActions.map(
      ({ workflow }) => workflow,
    );
  const runningOf = async (scheduleId: string): Promise<string[]> =>
    (await executionsOf(scheduleId)).map(({ workflowId }) => workflowId);

  test('goes on in one workflow under the schedule that the version before made, and is begun again where it was ended', async () => {
    const scheduleId = `look-after/${queue}`;
    // As workers of the version before make it; each of its starts was a workflow of one round.
    const schedule = await stack.temporal.schedule.create({
      scheduleId,
      spec: { intervals: [{ every: '1 minute' }] },
      policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: '1 minute' },
      action: { type: 'startWorkflow', workflowType: 'lookAfter', workflowId: scheduleId, taskQueue: queue, args: [] },
    });
    await stack.startHosted();
    await schedule.trigger(ScheduleOverlapPolicy.SKIP);
    const { workflowId, firstExecutionRunId: first } = await until(
      'it is under way',
      async () => (await executionsOf(scheduleId))[0],
    );
    await until('a round is done', async () => /woken 0, lost 0/.test(await details(workflowId)));
    await schedule.trigger(ScheduleOverlapPolicy.SKIP);
    await until('its start is skipped', async () => (await schedule.describe()).info.numActionsSkippedOverlap > 0);
    await until('it is listed', async () => (await listed('lookAfter')).length > 0);
    expect(await listed('lookAfter')).toEqual([{ workflowId, status: 'RUNNING' }]);

    await stack.temporal.workflow.getHandle(workflowId).terminate();
    await until('the schedule has seen it', async () => (await runningOf(scheduleId)).length === 0);
    // A trigger may still find the ended one running, and one within a second of the first makes a workflow of the same id.
    const next = await until('another is under way', async () => {
      const another = (await executionsOf(scheduleId)).find(({ firstExecutionRunId }) => firstExecutionRunId !== first);
      if (!another) await schedule.trigger(ScheduleOverlapPolicy.SKIP);
      return another?.workflowId;
    });
    await until('it does its round', async () => /woken 0, lost 0/.test(await details(next)));
  });

  test('is begun at once where there is none, each kind', async () => {
    for (const scheduleId of scheduleIds(queue))
      await until(`${scheduleId} is under way`, async () => (await runningOf(scheduleId)).length === 1);
    await until('all are listed', async () => (await listed('sweepSandboxes')).length === 1);
    await until('all are listed', async () => (await listed('forgetOld')).length === 1);
  });

  test('continues as new, and its schedule knows it for the same', async () => {
    const scheduleId = `test/${randomUUID()}`;
    const schedule = await stack.temporal.schedule.create({
      scheduleId,
      spec: { intervals: [{ every: '1 hour' }] },
      policies: { overlap: ScheduleOverlapPolicy.SKIP },
      action: {
        type: 'startWorkflow',
        workflowType: 'lookAfter',
        workflowId: scheduleId,
        taskQueue: queue,
        args: [{ everySeconds: 1, rounds: 2 }],
      },
    });
    await schedule.trigger(ScheduleOverlapPolicy.SKIP);
    const workflowId = await until('it is under way', async () => (await runningOf(scheduleId))[0]);
    const handle = stack.temporal.workflow.getHandle(workflowId);
    const first = (await handle.describe()).runId;
    await until('it continued as new', async () => (await handle.describe()).runId !== first);
    const before = (await schedule.describe()).info.numActionsSkippedOverlap;
    await schedule.trigger(ScheduleOverlapPolicy.SKIP);
    await until('its start is skipped', async () => (await schedule.describe()).info.numActionsSkippedOverlap > before);
    expect(await runningOf(scheduleId)).toEqual([workflowId]);
    await schedule.delete();
    await handle.terminate();
  });
});
