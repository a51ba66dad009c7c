/** What happens when the authority does not answer: nobody serves its queue here. */
import { randomUUID } from 'node:crypto';
import { startApi } from '../../api/server';
import type { QuotaChange } from '../../store/quota-key';
import { setQuotas } from '../../store/quotas';
import { spendlock } from '../support/cli';
import { startTestApi, type Answer } from '../support/api';
import { TestStack, until } from '../support/stack';

describe('an authority that does not answer', () => {
  let stack: TestStack;
  beforeAll(async () => {
    stack = await TestStack.start({ worker: false });
    await stack.startHosted({ SPENDLOCK_TASK_QUEUES: 'runs,sandbox' });
  });
  afterAll(() => stack.stop());
  const setLimit = (tenantId: string, limitUsd: string, of: Partial<QuotaChange> = {}): Promise<boolean> => {
    const quota = { scope: 'tenant', scopeId: tenantId, resourceType: 'llm', period: 'month', limitUsd } as const;
    return setQuotas(stack.pool, { tenantId, changes: [{ ...quota, ...of }] });
  };
  /** The page of a run, and the command line, mark the steps that went on without a grant. */
  async function tellsOfUnreserved({ tenantId, runId }: { tenantId: string; runId: string }): Promise<void> {
    const api = await startTestApi(stack);
    try {
      const { steps } = await api.admin.runs.get(runId, tenantId);
      expect(steps).toContainEqual(
        expect.objectContaining({ unreserved: true, allowedUsd: expect.any(String) as string }),
      );
      const shown = await spendlock(api, 'runs', 'show', tenantId, runId);
      expect(shown.out).toMatch(/committed, up to \$\d+\.\d+ unreserved/);
    } finally {
      await api.close();
    }
  }

  test('deny: the run ends, no call is made, and nothing is held once it is back', async () => {
    const tenantId = await stack.tenantThat('deny');
    const before = stack.anthropic.calls().billable;
    const started = await stack.start({ tenantId });
    // The run reads back at its end that its reservation has ended, so it ends when the authority is back.
    await until('it gave up waiting', async () => {
      const { events } = await stack.temporal.workflow.getHandle(started.workflowId).fetchHistory();
      return events?.some(({ activityTaskTimedOutEventAttributes }) => activityTaskTimedOutEventAttributes);
    });
    const back = await stack.startHosted({ SPENDLOCK_TASK_QUEUES: 'budget' });
    const run = await stack.finish({ ...started, tenantId });
    await back.stop();
    expect(run).toMatchObject({ status: 'failed', failure: { code: 'authority_unavailable' } });
    expect(stack.anthropic.calls().billable).toBe(before);
    expect(await stack.books(tenantId)).toMatchObject({ reservedUsd: '0', ledgerUsd: '0', openReservations: 0 });
  });

  test('allow: the run goes on without a grant, and what it cost is on record as an overrun', async () => {
    const tenantId = await stack.tenantThat('allow');
    const started = await stack.start({ tenantId });
    const { runId } = started;
    await until('the answer is there', async () => {
      const { rows } = await stack.admin.query(
        `SELECT FROM copilot_internal.reservations WHERE run_id = $1 AND unreserved AND outcome = 'billed'`,
        [runId],
      );
      return rows.length > 0;
    });
    const back = await stack.startHosted({ SPENDLOCK_TASK_QUEUES: 'budget' });
    const run = await stack.finish({ ...started, tenantId });
    await back.stop();
    expect(run.status).toBe('completed');
    await tellsOfUnreserved({ tenantId, runId });
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
  });

  test('allow: a call without a grant whose cost nobody learns is charged at what it asked for (XA4)', async () => {
    const tenantId = await stack.tenantThat('allow');
    stack.anthropic.knobs.failNext = [{ type: 'cut-before-usage' }];
    const started = await stack.start({ tenantId });
    await until('the answer is there', async () => {
      const { rows } = await stack.admin.query(
        `SELECT FROM copilot_internal.reservations WHERE run_id = $1 AND unreserved AND outcome = 'billed'`,
        [started.runId],
      );
      return rows.length > 0;
    });
    const back = await stack.startHosted({ SPENDLOCK_TASK_QUEUES: 'budget' });
    const run = await stack.finish({ ...started, tenantId });
    await back.stop();
    const cut = run.steps.find(({ settlement }) => settlement === 'unverified');
    expect(Number(cut?.requestedUsd)).toBeGreaterThan(0);
    expect(cut).toMatchObject({ status: 'committed', committedUsd: cut?.requestedUsd });
    const books = await stack.books(tenantId);
    expect(books).toMatchObject({ ledgerUsd: run.costUsd, spentUsd: run.costUsd, reservedUsd: '0' });
  });

  test('a run may be stricter than its tenant, and not laxer', async () => {
    const tenantId = await stack.tenantThat('wait');
    await expect(stack.start({ tenantId, onUnavailable: 'allow' })).rejects.toMatchObject({ code: 'invalid_request' });
    await expect(
      stack.start({ tenantId: await stack.tenantThat('deny'), onUnavailable: 'wait' }),
    ).rejects.toMatchObject({
      code: 'invalid_request',
    });
  });

  test('a caller outside Temporal is let through by `allow`, and its cost recorded', async () => {
    const api = await startTestApi(stack);
    try {
      const tenantId = await stack.tenantThat('allow', 300);
      const operationId = randomUUID();
      const body = { operationId, tenantId, resource: 'llm', amountUsd: '1' };
      const granted = { decision: 'granted', grantedUsd: '1', unreserved: true };
      expect(await api.call('POST', '/v1/reservations', { body })).toMatchObject({ status: 201, body: granted });
      const seen = { unreserved: true, grantedUsd: '0', allowedUsd: '1' };
      expect(await api.admin.reservation(operationId, { tenantId })).toMatchObject(seen);
      expect(await api.admin.budget.holds(tenantId)).toMatchObject({ holds: [seen] });
      expect((await spendlock(api, 'holds', 'list', tenantId)).out).toContain('not told, up to $1.00 unreserved');
      const cost = { tenantId, costUsd: '0.7' };
      expect(await api.call('POST', `/v1/reservations/${operationId}/commit`, { body: cost })).toMatchObject({
        status: 200,
      });
      const back = await stack.startHosted({ SPENDLOCK_TASK_QUEUES: 'budget' });
      await until('it is folded', async () => (await stack.books(tenantId)).openReservations === 0);
      await back.stop();
      expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: '0.7', spentUsd: '0.7', reservedUsd: '0' });
    } finally {
      await api.close();
    }
  });

  test('allow: what nobody decided is charged at no more than a decision could have granted, whatever was asked for', async () => {
    const api = await startTestApi(stack);
    try {
      const tenantId = await stack.tenantThat('allow', 300);
      const reserve = (more: object): Promise<Answer> =>
        api.call('POST', '/v1/reservations', {
          body: {
            operationId: randomUUID(),
            tenantId,
            resource: 'llm',
            amountUsd: '1000000',
            minimumUsd: '1',
            onExpiry: 'settle',
            ...more,
          },
        });
      const partial = { status: 201, body: { grantedUsd: '10', partial: true, unreserved: true } };
      const operationId = randomUUID();
      expect(await reserve({ operationId })).toMatchObject(partial);
      // A repeat is told the same when there is less by then.
      await api.admin.platform.setQuotas({ quotas: [{ resourceType: 'llm', limitUsd: '4' }] });
      expect(await reserve({ operationId })).toMatchObject(partial);
      expect(await reserve({})).toMatchObject({ status: 201, body: { grantedUsd: '4' } });
      // A cost that somebody vouches for is recorded as it is.
      const made = { tenantId, costUsd: '30', unreserved: { resource: 'llm' }, confirm: true, reason: 'on the bill' };
      expect(await api.call('POST', `/v1/reservations/${randomUUID()}/commit`, { body: made })).toMatchObject({
        status: 200,
      });
      await stack.admin.query(
        `UPDATE copilot_internal.reservations SET expires_at = decided_at WHERE tenant_id = $1 AND outcome IS NULL`,
        [tenantId],
      );
      const back = await stack.startHosted({ SPENDLOCK_TASK_QUEUES: 'budget' });
      await until('all is settled', async () => (await stack.books(tenantId)).openReservations === 0);
      await back.stop();
      expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: '44', spentUsd: '44', reservedUsd: '0' });
    } finally {
      await stack.admin.query(
        'DELETE FROM copilot_internal.cost_quotas WHERE tenant_id IS NULL OR lease_of IS NOT NULL',
      );
      await api.close();
    }
  });

  test('allow: a cost is judged by what its call was allowed, whatever the limits are by then', async () => {
    const api = await startTestApi(stack);
    try {
      const tenantId = await stack.tenantThat('allow', 300);
      const body = { tenantId, resource: 'llm', amountUsd: '8', minimumUsd: '0.1' };
      const reserve = async (): Promise<unknown> =>
        (await api.call('POST', '/v1/reservations', { body: { ...body, operationId: randomUUID() } })).body.operationId;
      const commit = (operationId: unknown, costUsd: string): Promise<Answer> =>
        api.call('POST', `/v1/reservations/${String(operationId)}/commit`, { body: { tenantId, costUsd } });
      const honest = await reserve();
      await api.admin.platform.setQuotas({ quotas: [{ resourceType: 'llm', limitUsd: '0.5' }] });
      const little = await reserve();
      // The whole limit of the tenant is far above it.
      expect(await commit(little, '50')).toMatchObject({
        status: 422,
        body: {
          error: 'cost_unconfirmed',
          message:
            'A cost of $50 is at least 100 times the $0.5 that the call was allowed, without a grant. Nothing was recorded. Nothing is held for it, and its cost is still to be told.',
        },
      });
      const { holds } = await api.admin.tenants.overview(tenantId);
      const marked = { operationId: little, heldUsd: '0', unreserved: true, allowedUsd: '0.5' };
      expect(holds.find(({ operationId }) => operationId === little)).toMatchObject(marked);
      await setLimit(tenantId, '0');
      expect(await commit(honest, '8')).toMatchObject({ status: 200 });
      expect(await commit(honest, '9')).toMatchObject({
        status: 409,
        body: { action: expect.stringContaining('budget adjust') as string },
      });
    } finally {
      await stack.admin.query('DELETE FROM copilot_internal.cost_quotas WHERE tenant_id IS NULL');
      await api.close();
    }
  });

  test('allow: what no decision would grant is refused as a decision refuses it, by the quota that binds', async () => {
    const api = await startTestApi(stack);
    try {
      const tenantId = await stack.tenantThat('allow', 300);
      await setLimit(tenantId, '0', { scope: 'user', scopeId: 'kim' });
      const reserve = (more: object, operationId: string = randomUUID()): Promise<Answer> => {
        const body = { operationId, tenantId, resource: 'llm', amountUsd: '20', ...more };
        return api.call('POST', '/v1/reservations', { body });
      };
      const asked = [{ minimumUsd: '12' }, {}, { amountUsd: '1', userId: 'kim' }, { minimumUsd: '5' }];
      const undecided = [];
      for (const more of asked) undecided.push(await reserve(more));
      expect(undecided).toMatchObject([
        { status: 429, body: { error: 'quota_exceeded', quota: { scope: 'tenant', limitUsd: '10' } } },
        { status: 429, body: { error: 'quota_exceeded', quota: { scope: 'tenant', limitUsd: '10' } } },
        { status: 429, body: { error: 'quota_exceeded', quota: { scope: 'user', scopeId: 'kim', limitUsd: '0' } } },
        { status: 201, body: { grantedUsd: '10', partial: true, unreserved: true } },
      ]);
      const operationId = String(undecided[0]?.body.operationId);
      expect(await reserve({ minimumUsd: '12' }, operationId)).toMatchObject({ status: 429, body: { operationId } });
      expect(await api.admin.reservation(operationId, { tenantId })).toMatchObject({ status: 'denied' });
      await stack.admin.query(`DELETE FROM copilot_internal.cost_quotas WHERE tenant_id = $1 AND scope = 'tenant'`, [
        tenantId,
      ]);
      expect(await reserve({})).toMatchObject({ body: { error: 'quota_missing' } });
      await setLimit(tenantId, '10');
      const back = await stack.startHosted({ SPENDLOCK_TASK_QUEUES: 'budget' });
      await api.admin.budget.setPolicy(tenantId, { onUnavailable: 'wait', answerTimeoutMs: 30_000 });
      // The same, once somebody decides.
      const same = ({ status, body }: Answer) => {
        const { operationId, requestId, expiresAt, unreserved, ...rest } = body;
        return { status, operationId: typeof operationId, ...rest };
      };
      for (const [index, more] of asked.entries())
        expect(same(await reserve(more))).toEqual(same(undecided[index] as Answer));
      await back.stop();
    } finally {
      await api.close();
    }
  });

  test.each(['0.000001', '0'])('allow: a run whose limit is $%s by then does not go on', async (limitUsd) => {
    const tenantId = await stack.tenantThat('allow', 4_000);
    const before = stack.anthropic.calls().billable;
    const started = await stack.start({ tenantId });
    await setLimit(tenantId, limitUsd);
    await until('it is refused', async () => {
      const { rows } = await stack.admin.query(
        `SELECT FROM copilot_internal.reservations WHERE run_id = $1 AND status = 'denied' AND NOT unreserved`,
        [started.runId],
      );
      return rows.length > 0;
    });
    const back = await stack.startHosted({ SPENDLOCK_TASK_QUEUES: 'budget' });
    const run = await stack.finish({ ...started, tenantId });
    await back.stop();
    expect(run).toMatchObject({ status: 'quota_exceeded', failure: { code: 'quota_exceeded' }, costUsd: '0' });
    expect(stack.anthropic.calls().billable).toBe(before);
  });

  test('allow: nothing goes on for who is frozen, and what was spent all the same is recorded', async () => {
    const api = await startTestApi(stack);
    try {
      const tenantId = await stack.tenantThat('allow', 300);
      const reserve = (more: object = {}): Promise<Answer> => {
        const body = { operationId: randomUUID(), tenantId, resource: 'llm', amountUsd: '1', ...more };
        return api.call('POST', '/v1/reservations', { body });
      };
      await api.admin.budget.freeze(tenantId, { userId: 'kim', reason: 'a loop' });
      const operationId = randomUUID();
      const message = expect.stringContaining('a loop') as string;
      const refused = { status: 403, body: { error: 'budget_frozen', message } };
      for (const again of [false, true])
        expect({ again, ...(await reserve({ operationId, userId: 'kim' })) }).toMatchObject({ again, ...refused });
      expect(await reserve()).toMatchObject({ status: 201, body: { unreserved: true } });
      await api.admin.budget.freeze(tenantId, { reason: 'a loop' });
      expect(await reserve()).toMatchObject(refused);
      const made = { tenantId, costUsd: '3', unreserved: { resource: 'llm' } };
      expect(await api.call('POST', `/v1/reservations/${randomUUID()}/commit`, { body: made })).toMatchObject({
        status: 200,
      });
      // One that waits for its authority's answer when the order comes.
      const another = await stack.tenantThat('allow', 5_000);
      const started = await stack.start({ tenantId: another });
      await api.admin.budget.freeze(another, { reason: 'a loop' });
      await until('it is refused', async () => {
        const { rows } = await stack.admin.query(
          `SELECT FROM copilot_internal.reservations WHERE run_id = $1 AND status = 'rejected'`,
          [started.runId],
        );
        return rows.length > 0;
      });
      const back = await stack.startHosted({ SPENDLOCK_TASK_QUEUES: 'budget' });
      const run = await stack.finish({ ...started, tenantId: another });
      await back.stop();
      expect(run).toMatchObject({ status: 'failed', failure: { code: 'budget_frozen' }, costUsd: '0' });
    } finally {
      await api.close();
    }
  });

  test('a call that was made without asking is recorded, where the policy allows it', async () => {
    const api = await startTestApi(stack);
    try {
      const commit = async (tenantId: string, operationId: string, unreserved?: object): Promise<Answer> =>
        api.call('POST', `/v1/reservations/${operationId}/commit`, { body: { tenantId, costUsd: '3', unreserved } });
      const denying = await stack.tenantThat('deny');
      const call = { resource: 'llm', model: 'somebody-elses' };
      expect(await commit(denying, randomUUID(), call)).toMatchObject({
        status: 404,
        body: { error: 'unknown_operation', message: expect.stringContaining('deny') as string },
      });
      const tenantId = await stack.tenantThat('allow');
      const operationId = randomUUID();
      expect(await commit(tenantId, operationId)).toMatchObject({ status: 404, body: { error: 'unknown_operation' } });
      for (const again of [false, true])
        expect({ again, ...(await commit(tenantId, operationId, call)) }).toMatchObject({ again, status: 200 });
      const back = await stack.startHosted({ SPENDLOCK_TASK_QUEUES: 'budget' });
      await until('it is folded', async () => (await stack.books(tenantId)).openReservations === 0);
      await back.stop();
      expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: '3', spentUsd: '3', reservedUsd: '0' });
      expect(await stack.books(denying)).toMatchObject({ ledgerUsd: '0', openReservations: 0 });
    } finally {
      await api.close();
    }
  });

  test('the typed client goes on while no API is there, and records the cost when one is', async () => {
    const first = await startTestApi(stack);
    const port = Number(new URL(first.url).port);
    const tenantId = await stack.tenantThat('allow');
    const client = await first.clientOf(tenantId);
    await first.close();
    const asked = { resource: 'llm' as const, amountUsd: '1', kind: 'fax' };
    await expect(client.withReservation(asked, () => Promise.reject(new Error('was called')))).rejects.toMatchObject({
      ...{ name: 'UnreachableError', url: `${first.url}/v1/reservations` },
      message: expect.stringMatching(/was not answered \(.*ECONNREFUSED.*never carried out twice/) as string,
    });
    const working = client.withReservation({ ...asked, onUnavailable: 'allow' }, (grant) => {
      expect(grant).toMatchObject({ unreserved: true, grantedUsd: '1' });
      return Promise.resolve({ costUsd: '0.4', value: 'sent' });
    });
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    const second = await startApi({ ...stack.api, host: '127.0.0.1', port });
    try {
      expect(await working).toBe('sent');
      const back = await stack.startHosted({ SPENDLOCK_TASK_QUEUES: 'budget' });
      await until('it is folded', async () => (await stack.books(tenantId)).openReservations === 0);
      await back.stop();
      expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: '0.4', spentUsd: '0.4', reservedUsd: '0' });
    } finally {
      await second.close();
    }
  });
});
