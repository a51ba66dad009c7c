/** XA9, XF5: the gate before a request and the authority that decides it say the same of one that has no money. */
import { randomUUID } from 'node:crypto';
import { calculateRetryAfter } from '../../core/budget/periods';
import { isReleasedByExpiry } from '../../core/budget/reservations';
import { parseUsd } from '../../core/money';
import { readHolds } from '../../store/holds';
import { addWaiter, noteLine, removeWaiter } from '../../store/money-waiters';
import { openRunLimit } from '../../store/run-limits';
import type { TestApi } from '../support/api';
import { spendlock } from '../support/cli';
import { withInstallation } from '../support/installation';
import { type TestStack, until } from '../support/stack';

interface Denied {
  status: number;
  retryAfter: string | null;
  body: { message: string; retryAfter?: number; quotaDetails: Record<string, unknown> };
}

describe('the gate and the authority', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  const post = async (path: string, body: object): Promise<Denied> => {
    const response = await api.request(path, { method: 'POST', body });
    return {
      status: response.status,
      retryAfter: response.headers.get('retry-after'),
      body: (await response.json()) as Denied['body'],
    };
  };
  const reserve = (tenantId: string, amountUsd: string, more: object = {}): Promise<Denied> =>
    post('/v1/reservations', { operationId: randomUUID(), tenantId, resource: 'llm', amountUsd, ...more });
  const spend = async (tenantId: string, costUsd: string): Promise<void> => {
    const operationId = randomUUID();
    await reserve(tenantId, costUsd, { operationId });
    await post(`/v1/reservations/${operationId}/commit`, { tenantId, costUsd });
    await until('it is settled', async () => (await stack.books(tenantId)).openReservations === 0);
  };
  const setQuotas = (tenantId: string, quotas: object[]): Promise<unknown> =>
    api.request(`/v1/tenants/${tenantId}/quotas`, { method: 'PUT', body: { quotas } });

  /** What each says of the same request, a moment apart. */
  async function bothDeny(tenantId: string, amountUsd: string): Promise<[gate: Denied, authority: Denied]> {
    const gate = await post('/v1/quota-checks', { tenantId, resource: 'llm', amountUsd });
    const authority = await reserve(tenantId, amountUsd);
    expect([gate.status, authority.status]).toEqual([429, 429]);
    expect(gate.body.message).toBe(authority.body.message);
    expect(gate.body.quotaDetails).toEqual(authority.body.quotaDetails);
    const apart = Number(gate.retryAfter) - Number(authority.retryAfter);
    expect(Math.abs(apart)).toBeLessThanOrEqual(2);
    for (const { retryAfter, body } of [gate, authority]) expect(body.retryAfter ?? 3_600).toBe(Number(retryAfter));
    return [gate, authority];
  }

  test('say when a hold makes room', async () => {
    const tenantId = await stack.tenant('10');
    await reserve(tenantId, '9', { ttlSeconds: 90 });
    const [gate] = await bothDeny(tenantId, '2');
    expect(Number(gate.retryAfter)).toBeGreaterThan(60);
    expect(Number(gate.retryAfter)).toBeLessThanOrEqual(90);
  });

  test('keep what one gathers that has waited longer, and say until when', async () => {
    const tenantId = await stack.tenant('0.1');
    await reserve(tenantId, '0.05', { ttlSeconds: 600 });
    const denied = await reserve(tenantId, '0.08');
    const waiterId = randomUUID();
    const waiter = { waiterId, tenantId, workflowId: 'gathers', resource: 'llm', neededUsd: parseUsd('0.08') };
    await addWaiter(stack.pool, { ...waiter, isNamed: true }, { quota: denied.body.quotaDetails as never });
    await noteLine(stack.pool, tenantId, [{ waiterId, keptUsd: parseUsd('0.08'), keptForMs: 20_000 }]);
    const [gate] = await bothDeny(tenantId, '0.03');
    expect(gate.body.message).toContain('$0.05 of it kept for calls that have waited longer');
    expect(Number(gate.retryAfter)).toBeGreaterThan(10);
    expect(Number(gate.retryAfter)).toBeLessThanOrEqual(20);
    await removeWaiter(stack.pool, { tenantId, waiterId });
    const now = await post('/v1/quota-checks', { tenantId, resource: 'llm', estimatedUsd: '0.03' });
    expect(now.status).toBe(200);
  });

  test('do not count on a hold whose running out is charged', async () => {
    const tenantId = await stack.tenant('10');
    await reserve(tenantId, '9', { ttlSeconds: 90, onExpiry: 'settle' });
    const claimed = randomUUID();
    await reserve(tenantId, '0.5', { operationId: claimed, ttlSeconds: 120 });
    await post(`/v1/reservations/${claimed}/claim`, { tenantId });
    const [gate] = await bothDeny(tenantId, '2');
    // Its running out gives nothing back, and neither do both together: their calls may, at any moment.
    expect(Number(gate.retryAfter)).toBe(10);
  });

  /** What each says of the same call of a run, in the same words. */
  const bothOfRun = async (asked: { tenantId: string; runId: string; amountUsd: string }) => {
    const gate = await post('/v1/quota-checks', { resource: 'llm', ...asked });
    const operationId = randomUUID();
    const { status, body } = await reserve(asked.tenantId, asked.amountUsd, { ...asked, operationId });
    expect(gate.status).toBe(status === 201 ? 200 : status);
    if (status !== 201) expect(gate.body.message).toBe(body.message);
    expect(gate.body.quotaDetails).toEqual(body.quotaDetails);
    return { ...gate, operationId };
  };

  test('say the same of the limit of a run, and of what it belongs to', async () => {
    const tenantId = await stack.tenant('10');
    const [parent, child] = [randomUUID(), randomUUID()];
    await openRunLimit(stack.pool, tenantId, { id: parent, limitUsd: '1' });
    await openRunLimit(stack.pool, tenantId, { id: child, limitUsd: '5', parentId: parent });
    const asks = (amountUsd: string, runId = child) => bothOfRun({ tenantId, runId, amountUsd });
    const { operationId } = await asks('0.5');
    const held = await asks('0.8');
    expect(held).toMatchObject({
      status: 409,
      retryAfter: '10',
      body: { error: 'run_limit_exceeded', retryAfter: 10 },
    });
    expect(held.body.message).toMatch(
      /^\$0\.5 is left of the limit of the run .*, to which it belongs, of \$1 .*held by/,
    );
    await post(`/v1/reservations/${operationId}/commit`, { tenantId, costUsd: '0.5' });
    await until('it is settled', async () => (await stack.books(tenantId)).openReservations === 0);
    const spent = await asks('0.8', parent);
    expect(spent.body.message).toContain("$0.5 is left of the run's own limit of $1");
    expect(spent.body).not.toHaveProperty('retryAfter');
    expect((await asks('0.5', parent)).status).toBe(200);
    const none = await post('/v1/quota-checks', { tenantId, runId: child });
    expect(none).toMatchObject({ status: 409, body: { error: 'run_limit_exceeded' } });
    expect(none.body.message).toMatch(/^Nothing is left of .* held by .* may come back[.] Nothing was reserved[.]$/);
    expect(await asks('0.1', randomUUID())).toMatchObject({ status: 404, body: { error: 'not_found' } });
  });

  test('say the same of the labels of a run, and take the former name of an amount, but not both', async () => {
    const tenantId = await stack.tenant('10');
    const run = await stack.start({ tenantId, labels: { team: 'search' }, limits: { maxCostUsd: '1' } });
    await stack.finish({ ...run, tenantId });
    const label = { scope: 'label', scopeId: 'team:search', resourceType: 'all', limitUsd: '0.5', period: 'month' };
    await setQuotas(tenantId, [label]);
    const refused = await bothOfRun({ tenantId, runId: run.runId, amountUsd: '0.6' });
    expect(refused).toMatchObject({ status: 429, body: { quotaDetails: { scopeId: 'team:search' } } });
    const check = (body: object) => post('/v1/quota-checks', { tenantId, ...body });
    expect((await check({ amountUsd: '0.6' })).status).toBe(200);
    expect((await check({ runId: run.runId, estimatedUsd: '0.6' })).body).toMatchObject({ error: 'quota_exceeded' });
    expect((await check({ amountUsd: '1', estimatedUsd: '1' })).body.message).toContain(
      'is the former name of amountUsd',
    );
    const { status, err } = await spendlock(api, 'budget', 'check', tenantId, '--amount', '0.6', '--run', run.runId);
    expect([status, err]).toEqual([3, expect.stringContaining('team:search')]);
  });

  test('agree with the database which holds come back by themselves', async () => {
    const tenantId = await stack.tenant('10');
    const expected: string[] = [];
    for (const onExpiry of [undefined, 'release', 'settle'] as const) {
      for (const claimed of [false, true]) {
        const operationId = randomUUID();
        await reserve(tenantId, '0.1', { operationId, ttlSeconds: 600, ...(onExpiry && { onExpiry }) });
        if (claimed) await post(`/v1/reservations/${operationId}/claim`, { tenantId });
        const request = { resource: 'llm', requestedUsd: 1n, priceVersion: '', kind: '', onExpiry } as const;
        if (isReleasedByExpiry({ request, claimed })) expected.push(operationId);
      }
    }
    expect(expected).toHaveLength(3);
    const { rows } = await stack.admin.query<{ id: string }>(
      `SELECT operation_id AS id FROM copilot_internal.reservations r
       WHERE tenant_id = $1 AND copilot_internal.is_released_by_expiry(r)`,
      [tenantId],
    );
    expect(rows.map(({ id }) => id).sort()).toEqual([...expected].sort());
    const holds = await readHolds(stack.pool, tenantId, []);
    expect(holds.map(({ operationId }) => operationId).sort()).toEqual([...expected].sort());
  });

  test('know that what a part of an envelope gives back is its envelope’s, which runs out later', async () => {
    const tenantId = await stack.tenant('10');
    const [envelope, part] = [randomUUID(), randomUUID()];
    await reserve(tenantId, '10', { operationId: envelope, envelope: true, ttlSeconds: 50_000 });
    await reserve(tenantId, '9', { operationId: part, parentOperationId: envelope, ttlSeconds: 300 });
    const saysItsEnd = async (): Promise<void> => {
      const [gate] = await bothDeny(tenantId, '5');
      expect(gate.body.message).toContain('$10 reserved, $10 of it in envelopes');
      expect(Number(gate.retryAfter)).toBeGreaterThan(49_000);
      expect(Number(gate.retryAfter)).toBeLessThanOrEqual(50_000);
    };
    await saysItsEnd();
    await post(`/v1/reservations/${part}/claim`, { tenantId });
    await saysItsEnd();
    await post(`/v1/reservations/${part}/release`, { tenantId });
    await saysItsEnd();
  });

  test('wait for the last of several quotas that are used up', async () => {
    const tenantId = await stack.tenant('1');
    await setQuotas(tenantId, [
      { resourceType: 'llm', period: 'day', limitUsd: '0.5' },
      { resourceType: 'llm', period: 'week', limitUsd: '0.75' },
    ]);
    await spend(tenantId, '0.5');
    const [gate] = await bothDeny(tenantId, '0.3');
    expect(gate.body.quotaDetails).toMatchObject({ remainingUsd: 0, period: 'day' });
    expect(Math.abs(Number(gate.retryAfter) - calculateRetryAfter('week', Date.now()))).toBeLessThanOrEqual(5);
  });

  test('know of no moment for what is more than a limit', async () => {
    const tenantId = await stack.tenant('10');
    const [gate, authority] = await bothDeny(tenantId, '10.5');
    expect([gate.retryAfter, authority.retryAfter]).toEqual(['3600', '3600']);
    expect([gate.body.retryAfter, authority.body.retryAfter]).toEqual([undefined, undefined]);
  });

  test('know of no moment for a limit of nothing, also where no amount is named', async () => {
    const tenantId = await stack.tenant('0');
    const [gate] = await bothDeny(tenantId, '0.1');
    const [check, run] = [
      await post('/v1/quota-checks', { tenantId, resource: 'llm' }),
      await post('/v1/runs', { tenantId, task: 'Say hello.' }),
    ];
    for (const { status, retryAfter, body } of [gate, check, run])
      expect([status, retryAfter, body.retryAfter]).toEqual([429, '3600', undefined]);
  });

  test('count a top-up to the limit', async () => {
    const tenantId = await stack.tenant('10');
    for (const resourceType of ['llm', 'all'])
      await post(`/v1/tenants/${tenantId}/topups`, { resourceType, amountUsd: '5', reason: 'launch' });
    await spend(tenantId, '12');
    const [gate] = await bothDeny(tenantId, '4');
    expect(gate.body.quotaDetails).toMatchObject({
      limitUsd: 15,
      currentSpendUsd: 12,
      remainingUsd: 3,
      utilizationPercent: 80,
    });
    expect(gate.body.message).toContain('$3 left of $15');
  });
});
