import { ScheduleAlreadyRunning, ScheduleOverlapPolicy, type Client } from '@temporalio/client';
import type { Logger } from 'pino';

/**
 * Makes sure that the schedule of `lookAfter` exists. It stays when workers end: what it starts then waits for them, one at a
 * time.
 */
export async function ensureSchedules(
  client: Client,
  { taskQueue, log }: { taskQueue: string; log: Logger },
): Promise<void> {
  const scheduleId = `look-after/${taskQueue}`;
  try {
    await client.schedule.create({
      scheduleId,
      spec: { intervals: [{ every: '1 minute' }] },
      policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: '1 minute' },
      action: { type: 'startWorkflow', workflowType: 'lookAfter', workflowId: scheduleId, taskQueue, args: [] },
    });
  } catch (error) {
    if (error instanceof ScheduleAlreadyRunning) return;
    log.warn({ error: String(error), scheduleId }, 'the schedule could not be made: sleeping tenants are not woken');
  }
}
