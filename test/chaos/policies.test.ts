/** What happens when the authority does not answer: nobody serves its queue here. */
import { randomUUID } from 'node:crypto';
import { startTestApi } from '../support/api';
import { TestStack, until } from '../support/stack';

describe('an authority that does not answer', () => {
  let stack: TestStack;
  beforeAll(async () => {
    stack = await TestStack.start({ worker: false });
    await stack.startWorker({ environment: { SPENDLOCK_TASK_QUEUES: 'runs,sandbox' } });
  });
  afterAll(() => stack.stop());

  const tenantWith = async (onUnavailable: string, answerTimeoutMs = 1_200): Promise<string> => {
    const tenantId = await stack.tenant('10');
    await stack.admin.query(
      'UPDATE copilot_internal.tenants SET on_unavailable = $2, answer_timeout_ms = $3 WHERE tenant_id = $1',
      [tenantId, onUnavailable, answerTimeoutMs],
    );
    return tenantId;
  };

  test('deny: the run ends, no call is made, and nothing is held once it is back', async () => {
    const tenantId = await tenantWith('deny');
    const before = stack.anthropic.calls().billable;
    const started = await stack.start({ tenantId });
    const { runId } = started;
    // The run reads back at its end that its reservation has ended, so it ends when the authority is back.
    await until('the request is released', async () => {
      const { rows } = await stack.admin.query(
        `SELECT FROM copilot_internal.runs WHERE run_id = $1 AND status = 'running'`,
        [runId],
      );
      return rows.length === 1;
    });
    const back = await stack.startWorker({ environment: { SPENDLOCK_TASK_QUEUES: 'budget' } });
    const run = await stack.finish({ ...started, tenantId });
    await back.stop();
    expect(run).toMatchObject({ status: 'failed', failure: { code: 'authority_unavailable' } });
    expect(stack.anthropic.calls().billable).toBe(before);
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', ledgerUsd: '0', openReservations: 0 });
  }, 60_000);

  test('allow: the run goes on without a grant, and what it cost is on record as an overrun', async () => {
    const tenantId = await tenantWith('allow');
    const started = await stack.start({ tenantId });
    const { runId } = started;
    await until('the answer is there', async () => {
      const { rows } = await stack.admin.query(
        `SELECT FROM copilot_internal.reservations WHERE run_id = $1 AND unreserved AND outcome = 'billed'`,
        [runId],
      );
      return rows.length > 0;
    });
    const back = await stack.startWorker({ environment: { SPENDLOCK_TASK_QUEUES: 'budget' } });
    const run = await stack.finish({ ...started, tenantId });
    await back.stop();
    expect(run.status).toBe('completed');
    const books = await stack.books(tenantId);
    expect(books).toMatchObject({
      reservedUsd: '0',
      openReservations: 0,
      ledgerUsd: run.costUsd,
      spentUsd: run.costUsd,
    });
    expect(Number(books.ledgerUsd)).toBeGreaterThan(0);
    const { rows } = await stack.admin.query(
      `SELECT DISTINCT trim_scale(overrun_usd - committed_usd)::text AS difference FROM copilot_internal.reservations WHERE run_id = $1 AND unreserved`,
      [runId],
    );
    expect(rows).toEqual([{ difference: '0' }]);
  }, 60_000);

  test('a run may be stricter than its tenant, and not laxer', async () => {
    const tenantId = await tenantWith('wait');
    await expect(stack.start({ tenantId, onUnavailable: 'allow' })).rejects.toMatchObject({ code: 'invalid_request' });
    await expect(stack.start({ tenantId: await tenantWith('deny'), onUnavailable: 'wait' })).rejects.toMatchObject({
      code: 'invalid_request',
    });
  });

  test('a caller outside Temporal is let through by `allow`, and its cost recorded', async () => {
    const api = await startTestApi(stack);
    try {
      const tenantId = await tenantWith('allow', 300);
      const operationId = randomUUID();
      const body = { operationId, tenantId, resource: 'llm', amountUsd: '1' };
      const response = await api.request('/v1/reservations', { method: 'POST', body });
      expect(response.status).toBe(201);
      expect(await response.json()).toMatchObject({ decision: 'granted', grantedUsd: '1', unreserved: true });
      const committed = await api.request(`/v1/reservations/${operationId}/commit`, {
        method: 'POST',
        body: { tenantId, costUsd: '0.7' },
      });
      expect(committed.status).toBe(200);
      const back = await stack.startWorker({ environment: { SPENDLOCK_TASK_QUEUES: 'budget' } });
      await until('it is folded', async () => (await stack.books(tenantId)).openReservations === 0);
      await back.stop();
      expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: '0.7', spentUsd: '0.7', reservedUsd: '0' });
    } finally {
      await api.close();
    }
  }, 60_000);
});
