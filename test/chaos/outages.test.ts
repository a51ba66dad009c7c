import { TestStack, until } from '../support/stack';

describe('an installation under stress', () => {
  let stack: TestStack;
  beforeEach(async () => {
    stack = await TestStack.start({ worker: false });
  });
  afterEach(() => stack.stop());

  /** Holds a tenant's locks, as a hanging database would, for a time. */
  async function hang(tenantId: string, durationMs: number): Promise<void> {
    const client = await stack.admin.connect();
    await client.query('BEGIN');
    await client.query('SELECT FROM copilot_internal.tenants WHERE tenant_id = $1 FOR UPDATE', [tenantId]);
    setTimeout(() => void client.query('ROLLBACK').finally(() => client.release()), durationMs);
  }

  test.each([1_500, 9_000])(
    'waits for a database that hangs for %d ms, decides once, and goes on',
    async (durationMs) => {
      await stack.startHosted();
      const tenantId = await stack.tenant('5');
      await hang(tenantId, durationMs);
      const started = await stack.start({ tenantId });
      const run = await stack.finish({ tenantId, ...started });
      expect(run).toMatchObject({ status: 'completed', steps: [{ attempt: 1, settlement: 'actual' }] });
      expect(await stack.books(tenantId)).toEqual({
        ledgerUsd: run.costUsd,
        spentUsd: run.costUsd,
        reservedUsd: '0',
        openReservations: 0,
      });
      // The next one is decided as if nothing had been.
      expect((await stack.run({ tenantId })).status).toBe('completed');
    },
  );

  test('runs with its queues split over three workers', async () => {
    for (const queue of ['runs', 'budget', 'sandbox']) await stack.startHosted({ SPENDLOCK_TASK_QUEUES: queue });
    const tenantId = await stack.tenant('5');
    const run = await stack.run({ tenantId, task: 'Profile this file.', file: { name: 'a.csv', content: 'a\n1\n' } });
    expect(run.status).toBe('completed');
    expect(run.steps.map(({ settlement }) => settlement)).toEqual(['actual', 'actual', 'actual']);
    expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: run.costUsd, reservedUsd: '0' });
  });

  test('lets the call of a worker that is told to stop end, and records what it cost (F5)', async () => {
    const stopping = await stack.startWorker();
    stack.anthropic.knobs.latencyMs = 2_000;
    const tenantId = await stack.tenant('5');
    const started = await stack.start({ tenantId });
    await until('the call is under way', () => stack.anthropic.calls().inFlight > 0);
    await stopping.stop();
    const { rows } = await stack.admin.query('SELECT outcome FROM copilot_internal.reservations WHERE tenant_id = $1', [
      tenantId,
    ]);
    expect(rows).toEqual([{ outcome: 'billed' }]);
    await stack.startHosted();
    const run = await stack.finish({ tenantId, ...started });
    expect(run).toMatchObject({ status: 'completed', steps: [{ settlement: 'actual' }] });
    expect(stack.anthropic.calls().billable).toBe(1);
  });

  test('decides by two budget workers as by one: no grant passes the limit', async () => {
    await Promise.all([stack.startHosted(), stack.startWorker()]);
    await stack.priceModel('claude-two-dollars', '2000');
    stack.anthropic.knobs.usage = { output_tokens: 1000 };
    const tenantId = await stack.tenant('10');
    const runs = await Promise.all(
      Array.from({ length: 10 }, () =>
        stack.run({ tenantId, model: 'claude-two-dollars', limits: { maxOutputTokens: 1000 } }),
      ),
    );
    expect(runs.filter(({ status }) => status === 'completed')).toHaveLength(5);
    expect(await stack.books(tenantId)).toEqual({
      ledgerUsd: '10',
      spentUsd: '10',
      reservedUsd: '0',
      openReservations: 0,
    });
  });

  test('records and alerts, and denies nothing, with enforcement off (Q1)', async () => {
    await stack.startHosted({ ENFORCE_COST_QUOTAS: 'false' });
    const tenantId = await stack.tenant('0.000001');
    const run = await stack.run({ tenantId });
    expect(run.status).toBe('completed');
    expect((await stack.books(tenantId)).ledgerUsd).toBe(run.costUsd);
    const { rows } = await stack.admin.query(
      'SELECT DISTINCT kind FROM copilot_internal.quota_alerts WHERE tenant_id = $1 ORDER BY kind',
      [tenantId],
    );
    expect(rows).toEqual([{ kind: 'quota_exceeded' }, { kind: 'quota_warning' }]);
  });
});
