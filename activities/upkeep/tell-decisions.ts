/** What people decided and no workflow was told of: the process that took it may have ended. */
import { WorkflowNotFoundError, type Client } from '@temporalio/client';
import { decideApprovalSignal, moneyFreedSignal } from '../../contracts/messages';
import { findUntoldDecisions, noteTold } from '../../store/approvals';
import { findUntoldAnswers, noteSignalled } from '../../store/money-requests';
import type { Pool } from '../../store/pool';
import type { Logger } from '../../telemetry/log';

/** Tells the workflows of what was decided so long ago. Answers how many were told. */
export async function tellDecisions(
  { pool, client, log }: { pool: Pool; client: Client; log: Logger },
  untold: { waitedMs: number; max: number },
): Promise<number> {
  const [decisions, answers] = await Promise.all([findUntoldDecisions(pool, untold), findUntoldAnswers(pool, untold)]);
  const tell = async (workflowId: string, signal: () => Promise<void>, note: () => Promise<void>) => {
    try {
      await signal();
    } catch (error) {
      // Nobody is there to be told: it would stand before those that are.
      if (error instanceof WorkflowNotFoundError) return note().then(() => false);
      log.warn({ workflowId, error }, 'a decision could not be signalled');
      return false;
    }
    await note();
    return true;
  };
  const told = await Promise.all([
    ...decisions.map(({ tenantId, approvalId, workflowId }) =>
      tell(
        workflowId,
        () => client.workflow.getHandle(workflowId).signal(decideApprovalSignal, { approvalId }),
        () => noteTold(pool, tenantId, [approvalId]),
      ),
    ),
    ...answers.map(({ workflowId, ...key }) =>
      tell(
        workflowId,
        () => client.workflow.getHandle(workflowId).signal(moneyFreedSignal),
        () => noteSignalled(pool, key),
      ),
    ),
  ]);
  return told.filter(Boolean).length;
}
