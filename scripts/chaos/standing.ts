/** How what is waited for stands, in words, for who has to find out why it did not come. */
import { optionalTsToMs } from '@temporalio/common/lib/time';
import { temporal as temporalTypes } from '@temporalio/proto';
import { budgetWorkflowId } from '../../contracts/messages';
import { decidingProcesses } from '../../store/deciding-processes';
import type { Installation } from './installation';

/** What a workflow has, and what it waits for. */
export async function stateOf({ temporal }: Installation, workflowId: string): Promise<string> {
  try {
    const handle = temporal.workflow.getHandle(workflowId);
    const { status, historyLength, raw } = await handle.describe();
    const activities = (raw.pendingActivities ?? []).map(
      ({ activityType, attempt, lastFailure }) =>
        `${activityType?.name} in attempt ${attempt}${lastFailure?.message ? ` (${lastFailure.message})` : ''}`,
    );
    const task = raw.pendingWorkflowTask ? [taskState(raw.pendingWorkflowTask)] : [];
    const pending = [...activities, ...task].join(', ') || 'nothing';
    const { events } = await handle.fetchHistory();
    const last = (events ?? [])
      .slice(-12)
      .map(
        ({ eventType, eventTime }) =>
          `${(EventType[eventType ?? 0] ?? '').replace('EVENT_TYPE_', '')} ${ago(eventTime)}`,
      );
    return `${workflowId} is ${status.name} with ${historyLength} events, ${pending} is pending; its last: ${last.join(', ')}`;
  } catch (error) {
    return `${workflowId}: ${String(error)}`;
  }
}

const { EventType, PendingWorkflowTaskState } = temporalTypes.api.enums.v1;

const ago = (moment: Parameters<typeof optionalTsToMs>[0]): string =>
  `${((Date.now() - (optionalTsToMs(moment) ?? 0)) / 1_000).toFixed(1)} s ago`;

function taskState(task: temporalTypes.api.workflow.v1.IPendingWorkflowTaskInfo): string {
  const { attempt, state, scheduledTime, startedTime } = task;
  const isBegun = state === PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_STARTED;
  const where = isBegun ? `with a worker, begun ${ago(startedTime)}` : 'waiting for a worker';
  return `a workflow task in attempt ${attempt}, made ${ago(scheduledTime)}, ${where}`;
}

/** Who decides for a tenant now: its authority, and whether others may and do. */
export async function standingOf(installation: Installation, tenantId: string): Promise<string> {
  const [authority, { rows }, processes] = await Promise.all([
    stateOf(installation, budgetWorkflowId(tenantId)),
    installation.admin.query<{ mandate: string }>(
      `SELECT to_jsonb(m)::text AS mandate FROM copilot_internal.mandates AS m WHERE tenant_id = $1`,
      [tenantId],
    ),
    decidingProcesses(installation.admin),
  ]);
  const states = processes.map(({ processId, state }) => `${processId} ${state}`).join(', ');
  return `${authority}; mandate ${rows[0]?.mandate ?? 'never given'}; processes ${states || 'none'}`;
}
