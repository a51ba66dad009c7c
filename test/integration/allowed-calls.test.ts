/** What goes on without a grant while no authority answers (policy `allow`): for whom it stays, and what bounds it. */
import { randomUUID } from 'node:crypto';
import { createSpendlockClient, NotBilledError } from '../../client';
import { startTestApi, type TestApi } from '../support/api';
import { TestStack, until } from '../support/stack';

describe('while no authority answers, under policy `allow`', () => {
  let stack: TestStack;
  let api: TestApi;
  let other: TestApi;
  beforeAll(async () => {
    stack = await TestStack.start({ worker: false });
    [api, other] = await Promise.all([startTestApi(stack), startTestApi(stack)]);
  });
  afterAll(async () => {
    await Promise.all([api.close(), other.close()]);
    await stack.stop();
  });

  const reserve = (at: TestApi, tenantId: string, amountUsd: string, more: object = {}) =>
    at.call('POST', '/v1/reservations', {
      body: { operationId: randomUUID(), tenantId, resource: 'llm', amountUsd, ...more },
    });
  const commit = (tenantId: string, operationId: string, costUsd: string, more: object = {}) =>
    api.call('POST', `/v1/reservations/${operationId}/commit`, { body: { tenantId, costUsd, ...more } });
  const madeRun = async (tenantId: string, maxCostUsd: string): Promise<string> => {
    const { rows } = await stack.admin.query<{ run_id: string }>(
      `INSERT INTO copilot_internal.runs (run_id, tenant_id, workflow_id, model, task, status, options)
       VALUES (gen_random_uuid(), $1, 'run/' || gen_random_uuid(), 'claude-haiku-4-5', 'x', 'running',
         jsonb_build_object('limits', jsonb_build_object('maxCostUsd', $2::text))) RETURNING run_id`,
      [tenantId, maxCostUsd],
    );
    return rows[0]?.run_id ?? '';
  };

  test('the limit of a run counts what goes on, and what was told and not folded yet', async () => {
    const tenantId = await stack.tenantThat('allow', 300);
    const runId = await madeRun(tenantId, '0.5');
    const granted = async (amountUsd: string, more: object = {}): Promise<unknown> => {
      const { status, body } = await reserve(api, tenantId, amountUsd, { runId, ...more });
      return status === 201 ? body.grantedUsd : body.error;
    };
    const operationId = randomUUID();
    expect(await granted('0.3', { operationId })).toBe('0.3');
    expect(await granted('0.3')).toBe('run_limit_exceeded');
    expect(await granted('0.3', { operationId })).toBe('0.3');
    // It cost less than it might have, and what it did not use is there for the next.
    expect((await commit(tenantId, operationId, '0.1')).status).toBe(200);
    expect(await granted('0.3')).toBe('0.3');
    expect(await granted('0.3', { minimumUsd: '0.05' })).toBe('0.1');
    expect(await granted('0.01')).toBe('run_limit_exceeded');
  });

  test('a cost of a call without a reservation is held against the limit of the platform too', async () => {
    const tenantId = await stack.tenantThat('allow', 300);
    await api.admin.platform.setQuotas({ quotas: [{ resourceType: 'all', limitUsd: '5' }] });
    const unreserved = { resource: 'llm', amountUsd: '50' };
    expect(await commit(tenantId, randomUUID(), '500', { unreserved })).toMatchObject({
      status: 422,
      body: { error: 'cost_unconfirmed', message: expect.stringContaining('100 times the $5') as string },
    });
    // One that is not that much on its own is too much with what is spent: twice the tenant's limit of $10.
    const operationId = randomUUID();
    expect(await commit(tenantId, operationId, '20.01', { unreserved })).toMatchObject({
      status: 422,
      body: { error: 'cost_unconfirmed', message: expect.stringContaining('has $20 of room') as string },
    });
    expect(await commit(tenantId, randomUUID(), '20', { unreserved })).toMatchObject({ status: 200 });
    const confirmed = { unreserved, confirm: true, reason: 'on the bill' };
    expect(await commit(tenantId, operationId, '20.01', confirmed)).toMatchObject({ status: 200 });
  });

  test('a call that was let through and was not billed after all costs nothing, and its cost otherwise is on record with its row', async () => {
    const tenantId = await stack.tenantThat('allow', 300);
    const client = createSpendlockClient({ baseUrl: api.url, apiKey: await api.keyOf(tenantId) });
    const asked = { resource: 'llm' as const, amountUsd: '0.2' };
    const outcomes = async (): Promise<unknown[]> => {
      const { rows } = await stack.admin.query<{ outcome: string }>(
        `SELECT outcome, outcome_usd::numeric(9, 2)::text AS usd FROM copilot_internal.reservations WHERE tenant_id = $1 ORDER BY decided_at`,
        [tenantId],
      );
      return rows;
    };
    const call = client.withReservation(asked, () => {
      throw new NotBilledError('no connection');
    });
    await expect(call).rejects.toThrow(NotBilledError);
    expect(await outcomes()).toEqual([{ outcome: 'not_billed', usd: null }]);
    await client.withReservation(asked, () => Promise.resolve({ costUsd: '0.1', value: 'bought' }));
    expect((await outcomes())[1]).toEqual({ outcome: 'billed', usd: '0.10' });
  });

  test('a call that goes on stays with whoever was told of it, though somebody asked before and has gone', async () => {
    const tenantId = await stack.tenantThat('allow', 300);
    const went = async (): Promise<string> => {
      const operationId = randomUUID();
      const asking = fetch(`${api.url}/v1/reservations`, {
        method: 'POST',
        headers: { authorization: `Bearer ${api.adminKey}`, 'content-type': 'application/json' },
        body: JSON.stringify({ tenantId, operationId, resource: 'llm', amountUsd: '0.2', onExpiry: 'settle' }),
        signal: AbortSignal.timeout(100),
      });
      await expect(asking).rejects.toThrow();
      return operationId;
    };
    const gone = await Promise.all([went(), went(), went()]);
    const told = async (at: TestApi, operationId: string) =>
      expect(await reserve(at, tenantId, '0.2', { operationId, onExpiry: 'settle' })).toMatchObject({
        status: 201,
        body: { unreserved: true, grantedUsd: '0.2' },
      });
    await Promise.all([told(other, gone[0] ?? ''), told(api, gone[1] ?? ''), told(other, gone[2] ?? '')]);
    await stack.startHosted();
    // The releases of those who went were sent first: they are decided before this is.
    await until('it is decided', async () => (await reserve(api, tenantId, '0.01')).body.unreserved !== true);
    for (const operationId of gone)
      expect(await api.call('POST', `/v1/reservations/${operationId}/claim`, { body: { tenantId } })).toMatchObject({
        status: 200,
      });
  });
});
