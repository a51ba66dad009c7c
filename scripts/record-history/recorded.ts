/** What a case leaves to be recorded, and the person that some cases wait for. */
import { listApprovals, type Approval } from '../../store/approvals';
import { until, type TestStack } from '../../test/support/stack';

export interface Recorded {
  workflowId: string;
  /** Of an execution that is not the last. */
  runId?: string;
  type: 'agentRun' | 'conversation' | 'tenantBudget' | 'lookAfter' | 'sweepSandboxes' | 'forgetOld';
}

/** Fills the context of a model. */
export const long = 'words that fill the context of the model up to its limit '.repeat(40);

/** The next question that a run has for a person. */
export const askedNext = (stack: TestStack, run: { tenantId: string; runId: string }): Promise<Approval> =>
  until('somebody is asked', async () =>
    (await listApprovals(stack.pool, run)).approvals.find(({ status }) => status === 'pending'),
  );
