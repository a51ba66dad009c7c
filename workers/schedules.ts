/** Keeps what goes on for good in an installation running: its upkeep workflows. */
import { ScheduleAlreadyRunning, ScheduleOverlapPolicy, type Client } from '@temporalio/client';
import type { Logger } from '../telemetry/log';

export type ScheduledWorkflow = 'lookAfter' | 'sweepSandboxes' | 'forgetOld';

/**
 * What goes on for good in an installation, and after how long it is begun again where somebody ended it. The schedules are those
 * of versions whose workflows were one round each: under their workers each start still is.
 */
const scheduled: { name: string; workflowType: ScheduledWorkflow; every: '1 minute' | '2 minutes' | '1 hour' }[] = [
  { name: 'look-after', workflowType: 'lookAfter', every: '1 minute' },
  { name: 'sweep-sandboxes', workflowType: 'sweepSandboxes', every: '2 minutes' },
  { name: 'forget-old', workflowType: 'forgetOld', every: '1 hour' },
];

/** The ids of an installation's schedules. */
export const scheduleIds = (taskQueue: string): string[] => scheduled.map(({ name }) => `${name}/${taskQueue}`);

/**
 * Makes sure that the schedules exist. They stay when workers end, as does what they started: it waits for the next worker. While
 * that is open a schedule starts nothing.
 */
export async function ensureSchedules(
  client: Client,
  { taskQueue, log }: { taskQueue: string; log: Logger },
): Promise<void> {
  await Promise.all(
    scheduled.map(async ({ name, workflowType, every }) => {
      const scheduleId = `${name}/${taskQueue}`;
      try {
        const schedule = await client.schedule.create({
          scheduleId,
          spec: { intervals: [{ every }] },
          policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: '1 minute' },
          action: { type: 'startWorkflow', workflowType, workflowId: scheduleId, taskQueue, args: [] },
        });
        // A start beside its policy would not count as one that goes on, and a second would come with the next minute.
        await schedule.trigger(ScheduleOverlapPolicy.SKIP);
      } catch (error) {
        if (error instanceof ScheduleAlreadyRunning) return;
        log.warn({ error, scheduleId }, 'a schedule could not be made: what it looks after is not looked after');
      }
    }),
  );
}
