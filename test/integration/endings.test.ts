/** How a run's workflow ends, so that Temporal's own filters and counts tell what became of runs. */
import { ApplicationFailure, CancelledFailure, type WorkflowFailedError } from '@temporalio/client';
import type { TestApi } from '../support/api';
import { TestConversation } from '../support/conversations';
import { withInstallation } from '../support/installation';
import { type TestStack, until } from '../support/stack';
import type { StartedRun } from '../../api/runs/schemas';

describe('the workflow of a run', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  const statusOf = async (workflowId: string): Promise<string> =>
    (await stack.temporal.workflow.getHandle(workflowId).describe()).status.name;
  /** What somebody who waits for the workflow is told. */
  const causeOf = async (workflowId: string): Promise<unknown> => {
    const result: unknown = await stack.temporal.workflow
      .getHandle(workflowId)
      .result()
      .catch((error: WorkflowFailedError) => error.cause);
    return result;
  };
  const listed = async (tenantId: string, status: string): Promise<string[]> => {
    const ids: string[] = [];
    const query = `SpendlockTenantId = "${tenantId}" AND WorkflowType = "agentRun" AND ExecutionStatus = "${status}"`;
    for await (const { workflowId } of stack.temporal.workflow.list({ query })) ids.push(workflowId);
    return ids;
  };
  const start = (tenantId: string, more: object = {}): Promise<StartedRun> => stack.start({ tenantId, ...more });

  test('is Completed when the run is, with its result', async () => {
    const tenantId = await stack.tenant('5');
    const { runId, workflowId } = await start(tenantId);
    expect(await causeOf(workflowId)).toEqual({ runId, status: 'completed' });
    expect(await statusOf(workflowId)).toBe('COMPLETED');
  });

  test('is Failed with type quota_exceeded when the run was denied, and the record says what it always said', async () => {
    const tenantId = await stack.tenant('0.001');
    const started = await start(tenantId, { userId: 'ada' });
    const { runId, workflowId } = started;
    const cause = (await causeOf(workflowId)) as ApplicationFailure;
    expect(cause).toBeInstanceOf(ApplicationFailure);
    expect(cause).toMatchObject({ type: 'quota_exceeded', nonRetryable: true });
    expect(cause.message).toMatch(/quota of tenant/);
    expect(cause.details).toEqual([
      expect.objectContaining({
        runId,
        status: 'quota_exceeded',
        resource: 'llm',
        quota: expect.anything() as unknown,
      }),
    ]);
    expect(await stack.finish({ tenantId, ...started })).toMatchObject({
      status: 'quota_exceeded',
      failure: { code: 'quota_exceeded' },
    });
    expect(await until('it is listed', async () => (await listed(tenantId, 'Failed'))[0])).toBe(workflowId);
    expect(await listed(tenantId, 'Completed')).toEqual([]);
    const { typedSearchAttributes } = await stack.temporal.workflow.getHandle(workflowId).describe();
    expect(JSON.stringify(typedSearchAttributes.getAll())).toContain('quota_exceeded');
    // A repeat of its start begins nothing anew.
    const { events } = await stack.temporal.workflow.getHandle(workflowId).fetchHistory();
    expect(events?.at(-1)?.workflowExecutionFailedEventAttributes?.newExecutionRunId ?? '').toBe('');
  });

  test('XE22: names type and id in the log line that says that it failed', async () => {
    const tenantId = await stack.tenant('0.001');
    const { workflowId } = await start(tenantId);
    await stack.ended(workflowId);
    const line = await until('it is logged', () =>
      stack
        .workerLog()
        .split('\n')
        .find((text) => text.includes('Workflow failed') && text.includes(workflowId)),
    );
    expect(JSON.parse(line)).toMatchObject({ workflowId, workflowType: 'agentRun', name: 'worker' });
  });

  test("is Failed with the failure's code when the run failed", async () => {
    const tenantId = await stack.tenant('5');
    stack.anthropic.knobs.replies = [{ text: '', code: 'console.log(1)' }];
    const started = await start(tenantId, { limits: { maxSteps: 1 } });
    expect(await causeOf(started.workflowId)).toMatchObject({ type: 'run_limit_exceeded', nonRetryable: true });
    expect(await statusOf(started.workflowId)).toBe('FAILED');
    expect(await stack.finish({ tenantId, ...started })).toMatchObject({
      status: 'failed',
      failure: { code: 'run_limit_exceeded' },
    });
  });

  test('is Failed with type run_timeout when its time was over', async () => {
    const tenantId = await stack.tenant('5');
    stack.anthropic.knobs.latencyMs = 30_000;
    const started = await start(tenantId, { limits: { timeoutSeconds: 10 } });
    expect(await causeOf(started.workflowId)).toMatchObject({ type: 'run_timeout' });
    expect(await statusOf(started.workflowId)).toBe('FAILED');
  });

  test('is Cancelled when the run was', async () => {
    const tenantId = await stack.tenant('5');
    stack.anthropic.knobs.deltaSpacingMs = 30_000;
    const started = await start(tenantId);
    const handle = stack.temporal.workflow.getHandle(started.workflowId);
    await until('the call began', () => stack.anthropic.calls().inFlight > 0);
    await handle.cancel();
    expect(await causeOf(started.workflowId)).toBeInstanceOf(CancelledFailure);
    expect(await statusOf(started.workflowId)).toBe('CANCELLED');
    expect(await stack.finish({ tenantId, ...started })).toMatchObject({ status: 'cancelled' });
  });

  test('of a conversation is Completed when somebody closed it, whatever its turns came to', async () => {
    const talk = await TestConversation.start(api, await stack.tenant('0.001'));
    expect(await talk.ended(await talk.post('Hello.'))).toBe('quota_exceeded');
    expect(await statusOf(talk.workflowId)).toBe('RUNNING');
    await talk.close();
    await until('its workflow ended', async () => (await statusOf(talk.workflowId)) !== 'RUNNING');
    expect(await statusOf(talk.workflowId)).toBe('COMPLETED');
  });

  test('of a conversation is Cancelled when it was cancelled', async () => {
    const talk = await TestConversation.start(api, await stack.tenant('5'));
    expect(await talk.ended(await talk.post('Hello.'))).toBe('completed');
    await stack.temporal.workflow.getHandle(talk.workflowId).cancel();
    expect(await causeOf(talk.workflowId)).toBeInstanceOf(CancelledFailure);
    expect(await statusOf(talk.workflowId)).toBe('CANCELLED');
    expect(await talk.show()).toMatchObject({ status: 'cancelled' });
  });
});
