import { TestStack, until } from '../support/stack';

describe('a cancelled run', () => {
  let stack: TestStack;
  beforeAll(async () => {
    stack = await TestStack.start();
  });
  afterAll(() => stack.stop());

  test('stops its model call, ends its sandbox, and leaves nothing reserved', async () => {
    const tenantId = await stack.tenant('5');
    // The first reply asks for a program, so that a sandbox is open; the second call hangs.
    const started = await stack.start({
      tenantId,
      task: 'Profile this file.',
      file: { name: 'a.csv', content: 'a\n1\n' },
    });
    stack.anthropic.knobs.deltaSpacingMs = 0;
    await until('a sandbox runs', () => stack.e2b.calls().alive.length > 0);
    stack.anthropic.knobs.deltaSpacingMs = 60_000;
    await until('the second model call streams', () => stack.anthropic.calls().billable === 2);
    await stack.temporal.workflow.getHandle(started.workflowId).cancel();
    const run = await stack.finish({ tenantId, ...started });

    expect(run).toMatchObject({ status: 'cancelled', failure: { code: 'run_cancelled' } });
    await until('the call was broken off', () => stack.anthropic.calls().aborted === 1);
    expect(stack.anthropic.calls().inFlight).toBe(0);
    expect(stack.e2b.calls().alive).toEqual([]);
    // What was begun and never reported its usage is charged at its estimate; the sandbox for its seconds.
    expect(run.steps.map(({ kind, settlement }) => [kind, settlement])).toEqual([
      ['llm.call', 'actual'],
      ['sandbox.create', 'actual'],
      ['llm.call', 'unverified'],
    ]);
    expect(await stack.books(tenantId)).toEqual({
      ledgerUsd: run.costUsd,
      spentUsd: run.costUsd,
      reservedUsd: '0',
      openReservations: 0,
    });
  });

  test('while it waits for its grant gives the reservation up, and a late grant holds no money (F2)', async () => {
    const idle = await TestStack.start({ worker: false });
    try {
      // Runs are served, decisions are not: the reserve stays open.
      const runs = await idle.startHosted({ SPENDLOCK_TASK_QUEUES: 'runs,sandbox' });
      const tenantId = await idle.tenant('5');
      const started = await idle.start({ tenantId });
      await until('the reserve waits', async () => {
        const { pendingActivities } = (await idle.temporal.workflow.getHandle(started.workflowId).describe()).raw;
        return pendingActivities?.some(({ activityType }) => activityType?.name === 'reserve');
      });
      await idle.temporal.workflow.getHandle(started.workflowId).cancel();
      await idle.startHosted({ SPENDLOCK_TASK_QUEUES: 'budget' });
      const run = await idle.finish({ tenantId, ...started });
      expect(run).toMatchObject({ status: 'cancelled', costUsd: '0' });
      expect(await idle.books(tenantId)).toEqual({
        ledgerUsd: '0',
        spentUsd: '0',
        reservedUsd: '0',
        openReservations: 0,
      });
      await runs.stop();
    } finally {
      await idle.stop();
    }
  });
});
