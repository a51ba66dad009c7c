/** What a person may send by hand from Temporal UI or its CLI: whatever it is, nothing stands still for it. */
import { randomUUID } from 'node:crypto';
import { type temporal } from '@temporalio/proto';
import { createRunActivities } from '../../activities/runs';
import { Coalescer } from '../../authority/client/coalescer';
import { TemporalSignals } from '../../authority/client/signals';
import type { TestApi } from '../support/api';
import { TestConversation } from '../support/conversations';
import { withInstallation } from '../support/installation';
import { type TestStack, until } from '../support/stack';
import { budgetWorkflowId, taskQueues } from '../../contracts/messages';

describe('nonsense that a person sends by hand', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  const details = async (workflowId: string): Promise<string> => {
    const metadata = await stack.temporal.workflow
      .getHandle(workflowId)
      .query<temporal.api.sdk.v1.IWorkflowMetadata>('__temporal_workflow_metadata');
    return metadata.currentDetails ?? '';
  };
  const signal = (workflowId: string, name: string, ...args: unknown[]): Promise<void> =>
    stack.temporal.workflow.getHandle(workflowId).signal(name, ...args);
  /** As Temporal UI sends what is said to be Protobuf JSON, and the CLI whatever it is told. */
  const signalRaw = (workflowId: string, signalName: string, encoding: string, data: string): Promise<unknown> =>
    stack.connection.workflowService.signalWorkflowExecution({
      namespace: 'default',
      workflowExecution: { workflowId },
      signalName,
      requestId: randomUUID(),
      input: { payloads: [{ metadata: { encoding: Buffer.from(encoding) }, data: Buffer.from(data) }] },
    });
  /** Waits until a workflow has seen to all that it was sent; its tasks do not fail. */
  const seenTo = (workflowId: string): Promise<void> => stack.rests(workflowId);
  const failedTasks = async (workflowId: string): Promise<string[]> => {
    const { events } = await stack.temporal.workflow.getHandle(workflowId).fetchHistory();
    return (events ?? []).flatMap(({ workflowTaskFailedEventAttributes: failed }) =>
      failed ? [failed.failure?.message ?? ''] : [],
    );
  };

  const anything = [null, undefined, '', 'approve', 7, true, [], [null], {}, { approvalId: null }];

  test('XB6: a decision with a mistyped id or word is refused in words, and a valid one later is taken', async () => {
    const tools = [{ name: 'run_code', requiresApproval: true }];
    const talk = await TestConversation.start(api, await stack.tenant('5'), { tools });
    stack.anthropic.knobs.replies = [{ text: 'May I?', code: 'console.log("taken")' }, { text: 'Done.' }];
    const turnId = await talk.post('Compute.');
    const approvalId = await until('somebody is asked', async () => {
      const { body } = await api.call('GET', `/v1/approvals?runId=${talk.id}`, { key: talk.key });
      return (body.approvals as { approvalId: string }[])[0]?.approvalId;
    });
    const approve = { approvalId, decision: 'approve', decidedBy: 'ada' };
    const refused: [unknown, RegExp][] = [
      ...anything.map((one): [unknown, RegExp] => [one, /decideApproval/]),
      [{ ...approve, approvalId: `${approvalId.slice(0, -1)}x` }, /approvalId/],
      [{ ...approve, approvalId: randomUUID() }, /nobody is asked/],
      [{ ...approve, approvalId: { not: 'an id' } }, /approvalId/],
      [{ ...approve, decision: 'aprove' }, /decision/],
      [{ ...approve, decision: { approve: true } }, /decision/],
      [{ approvalId, decision: 'answer', answer: 'yes' }, /approve or refuse/],
      [{ ...approve, decision: 'refuse', answer: 7 }, /answer/],
      [{ ...approve, decision: 'refuse', answer: 'a\u0000b' }, /answer/],
      [{ ...approve, decision: 'refuse', answer: 'a'.repeat(500_000) }, /answer/],
      [{ ...approve, decidedBy: ['ada'] }, /decidedBy/],
      [{ ...approve, decidedBy: 'a\u0000' }, /decidedBy/],
    ];
    for (const [given, words] of refused) {
      await signal(talk.workflowId, 'decideApproval', given);
      await until(`it is told: ${words}`, async () => words.test(await details(talk.workflowId)), 20_000);
      expect(await details(talk.workflowId)).toMatch(/\*\*Not taken:\*\*/);
    }
    await signalRaw(talk.workflowId, 'decideApproval', 'json/protobuf', JSON.stringify(approve));
    await signalRaw(talk.workflowId, 'decideApproval', 'json/plain', '{ "approvalId": ');
    await seenTo(talk.workflowId);
    expect((await talk.turns())[0]).toMatchObject({ turnId, status: 'running' });
    await signal(talk.workflowId, 'decideApproval', { ...approve, approvalId: approvalId.toUpperCase() });
    expect(await talk.ended(turnId)).toBe('completed');
    expect(JSON.stringify(await talk.messages())).toContain('taken');
    expect(await failedTasks(talk.workflowId)).toEqual([]);
    await talk.close();
  });

  test('XB6: a decision whose nonsense reached its activity under an earlier version does not stop the turn', async () => {
    const tenantId = await stack.tenant('5');
    const { log } = stack.api;
    const activities = createRunActivities({
      pool: stack.pool,
      coalescer: new Coalescer({
        signals: new TemporalSignals({ client: stack.temporal, taskQueue: taskQueues(stack.prefix).budget }),
      }),
      log,
    });
    const decided = [
      ...anything,
      { approvalId: 'x', decision: 'approve' },
      { approvalId: randomUUID(), decision: 'aprove' },
    ];
    expect(
      await activities.pendingApprovals({ tenantId, runId: randomUUID(), step: 1, decided: decided as never }),
    ).toEqual([]);
  });

  test('XB6: a conversation stands every signal, update and query with any argument, and goes on', async () => {
    const talk = await TestConversation.start(api, await stack.tenant('5'), {});
    const handle = stack.temporal.workflow.getHandle(talk.workflowId);
    stack.anthropic.knobs.replies = [{ text: 'one' }];
    await talk.say('First.');
    for (const given of [...anything, { turnId: 7 }, { turnId: null }, 'x'.repeat(500_000)]) {
      await signal(talk.workflowId, 'interrupt', given);
      await signal(talk.workflowId, 'moneyFreed', given);
      await signal(talk.workflowId, 'noSuchSignal', given);
      await expect(handle.executeUpdate('postMessage', { args: [given] })).rejects.toMatchObject({
        cause: { type: 'invalid_request' },
      });
      await handle.query('runProgress', given);
    }
    for (const name of ['interrupt', 'moneyFreed', 'decideApproval'])
      await signalRaw(talk.workflowId, name, 'json/protobuf', '{}');
    await seenTo(talk.workflowId);
    stack.anthropic.knobs.replies = [{ text: 'two' }];
    expect(await talk.ended(await talk.post('Second.'))).toBe('completed');
    expect(await failedTasks(talk.workflowId)).toEqual([]);
    await signal(talk.workflowId, 'close', { why: 7 }, null);
    await until('it is closed', async () => (await talk.show()).endedAt !== null);
  });

  test('XB6: an interrupt that names no turn stops the one that runs', async () => {
    const talk = await TestConversation.start(api, await stack.tenant('5'), {});
    stack.anthropic.knobs.deltaSpacingMs = 30_000;
    const turnId = await talk.post('Talk.');
    await until('the call began', () => stack.anthropic.calls().inFlight > 0);
    await signal(talk.workflowId, 'interrupt');
    expect(await talk.ended(turnId)).toBe('interrupted');
    stack.anthropic.knobs.deltaSpacingMs = 0;
    await talk.close();
  });

  test('XB6: an authority stands any command, and decides the next one', async () => {
    const tenantId = await stack.tenant('5');
    const workflowId = budgetWorkflowId(tenantId);
    const reserve = () => ({
      type: 'reserve',
      operationId: randomUUID(),
      resource: 'llm',
      amountUsd: '0.01',
      priceVersion: 'test',
      ttlSeconds: 60,
      kind: 'external.call',
    });
    const first = reserve();
    await stack.signal(tenantId, [first as never]);
    const statusOf = async (operationId: string): Promise<string | undefined> =>
      (
        await stack.admin.query<{ status: string }>(
          'SELECT status FROM copilot_internal.reservations WHERE operation_id = $1',
          [operationId],
        )
      ).rows[0]?.status;
    await until('the first is decided', async () => (await statusOf(first.operationId)) === 'granted');
    const commands: unknown[] = [
      ...anything,
      { type: 'reserve' },
      { type: 'no such type', operationId: randomUUID() },
      { type: 'commit' },
      { type: 'commit', operationId: 'x' },
      { type: 'release', operationId: 7 },
      { type: 'extend', operationId: first.operationId, ttlSeconds: 'long' },
      { ...reserve(), operationId: 'mistyped' },
      { ...reserve(), amountUsd: 'many' },
      { ...reserve(), amountUsd: 0.01 },
      { ...reserve(), amountUsd: null },
      { ...reserve(), minimumUsd: '-1' },
      { ...reserve(), ttlSeconds: 1e300 },
      { ...reserve(), ttlSeconds: 'long' },
      { ...reserve(), resource: 'all' },
      { ...reserve(), kind: 'a\u0000b' },
      { ...reserve(), kind: null },
      { ...reserve(), userId: 7 },
      { ...reserve(), runId: 'x' },
      { ...reserve(), step: 'one' },
      { ...reserve(), replyTo: 7 },
      { ...reserve(), replyTo: null },
      { ...reserve(), replyTo: { channel: null } },
      { ...reserve(), traceContext: 'x' },
    ];
    for (const given of anything) await signal(workflowId, 'budgetCommands', given);
    await signalRaw(workflowId, 'budgetCommands', 'json/protobuf', '{}');
    await signal(workflowId, 'budgetCommands', Array(200_000).fill(0));
    for (const command of commands) await signal(workflowId, 'budgetCommands', [command]);
    const last = reserve();
    await signal(workflowId, 'budgetCommands', [...commands, last]);
    await until('the last is decided', async () => (await statusOf(last.operationId)) === 'granted', 20_000);
    expect(await details(workflowId)).toMatch(/\*\*Not taken:\*\*/);
    expect(await failedTasks(workflowId)).toEqual([]);
  });
});
