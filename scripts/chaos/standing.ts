/** How what is waited for stands, in words, for who has to find out why it did not come. */
import { budgetWorkflowId } from '../../contracts/messages';
import { decidingProcesses } from '../../store/deciding-processes';
import type { Installation } from './installation';

/** What a workflow has, and what it waits for. */
export async function stateOf({ temporal }: Installation, workflowId: string): Promise<string> {
  try {
    const { status, historyLength, raw } = await temporal.workflow.getHandle(workflowId).describe();
    const activities = (raw.pendingActivities ?? []).map(
      ({ activityType, attempt, lastFailure }) =>
        `${activityType?.name} in attempt ${attempt}${lastFailure?.message ? ` (${lastFailure.message})` : ''}`,
    );
    const task = raw.pendingWorkflowTask ? [`a workflow task in attempt ${raw.pendingWorkflowTask.attempt}`] : [];
    const pending = [...activities, ...task].join(', ') || 'nothing';
    return `${workflowId} is ${status.name} with ${historyLength} events, ${pending} is pending`;
  } catch (error) {
    return `${workflowId}: ${String(error)}`;
  }
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
