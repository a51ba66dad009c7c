/** What people do that some cases wait for: limits that are raised, programs that are approved or refused. */
import { decideApprovalSignal } from '../../contracts/messages';
import { decideApproval } from '../../store/approvals';
import { setQuotas } from '../../store/quotas';
import type { TestStack } from '../../test/support/stack';
import type { CaseName } from './names';
import { askedNext } from './recorded';

/** Lifts a tenant's limits, so that what waits for money goes on. */
export async function raise(stack: TestStack, tenantId: string): Promise<void> {
  const resourceTypes = ['all', 'llm', 'e2b'] as const;
  await setQuotas(stack.pool, {
    tenantId,
    changes: resourceTypes.map((resourceType) => ({
      scope: 'tenant',
      scopeId: tenantId,
      resourceType,
      period: 'month',
      limitUsd: '5',
    })),
  });
  await stack.signal(tenantId, [{ type: 'reload' }]);
}

/** Approves or refuses, as the case is named, what is asked next. */
export async function decide(
  stack: TestStack,
  { tenantId, runId, workflowId }: { tenantId: string; runId: string; workflowId: string },
  name: CaseName,
): Promise<void> {
  const { approvalId } = await askedNext(stack, { tenantId, runId });
  const decision = name.endsWith('approved') ? 'approve' : 'refuse';
  await decideApproval(stack.pool, { tenantId, approvalId }, { decision, decidedBy: 'recorder' });
  await stack.temporal.workflow.getHandle(workflowId).signal(decideApprovalSignal, { approvalId });
}
