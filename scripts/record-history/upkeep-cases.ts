/** Plays what looks after everything: a round by itself, or some of what goes on for good. */
import { randomUUID } from 'node:crypto';
import { startConversation } from '../../api/conversations/service';
import { startConversationBody } from '../../api/conversations/schemas';
import { decideApproval } from '../../store/approvals';
import { addTurn } from '../../store/turns';
import { until, type TestStack } from '../../test/support/stack';
import { taskQueues } from '../../contracts/messages';
import type { CaseName } from './names';
import { askedNext, type Recorded } from './recorded';

export async function lookAfterOnce(stack: TestStack, name: CaseName): Promise<Recorded[]> {
  if (name === 'rung') {
    const tenantId = await stack.tenant('5');
    const conversationId = randomUUID();
    await startConversation(stack.api, { conversationId, tenantId, body: startConversationBody.parse({}) });
    // A message of a process that died before it told anybody.
    await addTurn(stack.pool, { tenantId, runId: conversationId }, { turnId: randomUUID(), message: 'Hello?' });
    await stack.admin.query(`UPDATE copilot_internal.turns SET created_at = created_at - interval '5 minutes'`);
  }
  if (name === 'told') await decideUnheard(stack);
  const workflowId = `look-after/${randomUUID()}`;
  const { budget: taskQueue } = taskQueues(stack.prefix);
  await stack.temporal.workflow.execute('lookAfter', { workflowId, taskQueue, args: [{ once: true }] });
  return [{ workflowId, type: 'lookAfter' }];
}

/** A decision whose process died before it told anybody. */
async function decideUnheard(stack: TestStack): Promise<void> {
  const tenantId = await stack.tenant('5');
  stack.anthropic.knobs.replies = [{ text: 'May I?', code: 'console.log(1)' }, { text: 'Done.' }];
  const { runId, workflowId } = await stack.start({ tenantId, tools: [{ name: 'run_code', requiresApproval: true }] });
  const { approvalId } = await askedNext(stack, { tenantId, runId });
  await stack.rests(workflowId);
  await decideApproval(stack.pool, { tenantId, approvalId }, { decision: 'approve', decidedBy: 'recorder' });
  await stack.admin.query(`UPDATE copilot_internal.approvals SET decided_at = decided_at - interval '5 minutes'`);
}

/** Some rounds of what goes on for good, until it is cancelled. */
export async function upkeepOf(
  stack: TestStack,
  type: 'lookAfter' | 'sweepSandboxes' | 'forgetOld',
): Promise<Recorded[]> {
  const { budget: taskQueue } = taskQueues(stack.prefix);
  const handle = await stack.temporal.workflow.start(type, {
    workflowId: `${type}/${randomUUID()}`,
    taskQueue,
    args: [{ everySeconds: 1, rounds: 3 }],
  });
  const latest = stack.temporal.workflow.getHandle(handle.workflowId);
  await until('it continued as new', async () => (await latest.describe()).runId !== handle.firstExecutionRunId);
  await until('it did a round', async () => (await latest.describe()).historyLength > 12);
  await latest.cancel();
  await latest.result().catch(() => undefined);
  const [first, last] = [handle.firstExecutionRunId, (await latest.describe()).runId];
  return type === 'lookAfter'
    ? [{ workflowId: handle.workflowId, runId: last, type }]
    : [{ workflowId: handle.workflowId, runId: first, type }];
}

export async function sweepOnce(stack: TestStack): Promise<Recorded[]> {
  const workflowId = `sweep/${randomUUID()}`;
  const { budget: taskQueue } = taskQueues(stack.prefix);
  await stack.temporal.workflow.execute('sweepSandboxes', { workflowId, taskQueue, args: [{ once: true }] });
  return [{ workflowId, type: 'sweepSandboxes' }];
}

export async function forgetOnce(stack: TestStack): Promise<Recorded[]> {
  const workflowId = `forget-old/${randomUUID()}`;
  const { budget: taskQueue } = taskQueues(stack.prefix);
  await stack.temporal.workflow.execute('forgetOld', { workflowId, taskQueue, args: [{ once: true }] });
  return [{ workflowId, type: 'forgetOld' }];
}
