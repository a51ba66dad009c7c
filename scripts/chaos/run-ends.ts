/** How a run or a conversation ended, in Temporal and on record. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Installation } from './installation';

/** A run whose end is on record ends within that. */
const endSecondsMax = 30;

/** How Temporal shows a run that ended like this on record. */
export const workflowEndOf = (status: string): string =>
  ({ completed: 'COMPLETED', cancelled: 'CANCELLED', quota_exceeded: 'FAILED', failed: 'FAILED' })[status] ?? 'none';

/** How a workflow ended, and how on record. Its row is written a task or two before it ends, which is waited for. */
export async function endOf(
  { temporal, admin }: Pick<Installation, 'temporal' | 'admin'>,
  workflowId: string,
): Promise<{ status: { name: string }; closeTime?: Date | undefined; recorded: string }> {
  const handle = temporal.workflow.getHandle(workflowId);
  for (const giveUpMs = Date.now() + endSecondsMax * 1_000; ; await sleep(500)) {
    const { status, closeTime } = await handle.describe();
    const { rows } = await admin.query<{ status: string }>(
      'SELECT status FROM copilot_internal.runs WHERE workflow_id = $1',
      [workflowId],
    );
    const recorded = rows[0]?.status ?? 'absent';
    if (status.name !== 'RUNNING' || Date.now() > giveUpMs) return { status, closeTime, recorded };
  }
}
