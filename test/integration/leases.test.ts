/** The platform's quota spans tenants: each draws leases from it, and all of them together never pass it. */
import { randomUUID } from 'node:crypto';
import { startTestApi, type Answer, type TestApi } from '../support/api';
import { spendlock } from '../support/cli';
import { TestStack, until } from '../support/stack';

describe('the quota of the platform', () => {
  let stack: TestStack;
  let api: TestApi;
  beforeEach(async () => {
    stack = await TestStack.start();
    api = await startTestApi(stack);
  });
  afterEach(async () => {
    await api.close();
    await stack.stop();
  });

  const call = (method: string, where: string, body?: unknown): Promise<Answer> => api.call(method, where, { body });
  const reserve = (tenantId: string, amountUsd: string, more: object = {}): Promise<Answer> =>
    call('POST', '/v1/reservations', { operationId: randomUUID(), tenantId, resource: 'llm', amountUsd, ...more });
  const setPlatform = (limitUsd: string, more: object = {}): Promise<Answer> =>
    call('PUT', '/v1/platform/quotas', { quotas: [{ resourceType: 'all', limitUsd, ...more }] });
  interface Platform {
    limitUsd: string;
    spentUsd: string;
    reservedUsd: string;
    leasedUsd: string;
  }
  const platform = async (): Promise<Platform> =>
    ((await call('GET', '/v1/platform/quotas')).body.quotas as Platform[])[0] as Platform;
  const tenants = (count: number): Promise<string[]> =>
    Promise.all(Array.from({ length: count }, () => stack.tenant('1000')));

  test('five tenants race for it: exactly its limit is granted, and the leases never pass it', async () => {
    await setPlatform('10');
    const names = await tenants(5);
    const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => reserve(names[n % 5] ?? '', '1')));
    const counts = [201, 429].map((wanted) => answers.filter(({ status }) => status === wanted).length);
    expect({ counts, others: answers.filter(({ status }) => status > 429) }).toEqual({ counts: [10, 10], others: [] });
    const denied = answers.filter(({ status }) => status === 429);
    for (const { body } of denied) {
      expect(body).toMatchObject({ error: 'quota_exceeded', quotaDetails: { scope: 'platform', resourceType: 'all' } });
      expect(body.retryAfter).toBeGreaterThan(0);
    }
    expect(await platform()).toMatchObject({ limitUsd: '10', spentUsd: '0', reservedUsd: '10', leasedUsd: '10' });
    const { rows } = await stack.admin.query(`SELECT kind FROM copilot_internal.quota_alerts WHERE tenant_id IS NULL`);
    expect(rows).toEqual([{ kind: 'quota_exceeded' }]);
  });

  test('what one tenant leased and does not use is there for another', async () => {
    await setPlatform('64');
    const [first = '', second = ''] = await tenants(2);
    expect((await reserve(first, '1')).status).toBe(201);
    const { rows } = await stack.admin.query<{ lease: string }>(
      `SELECT trim_scale(limit_usd)::text AS lease FROM copilot_internal.cost_quotas WHERE tenant_id = $1 AND lease_of IS NOT NULL`,
      [first],
    );
    // The first dollar and a sixty-fourth of what was then free.
    expect(rows).toEqual([{ lease: '1.984375' }]);
    expect((await reserve(second, '63')).status).toBe(201);
    expect((await reserve(first, '0.01')).status).toBe(429);
    expect(await platform()).toMatchObject({ reservedUsd: '64', leasedUsd: '64' });
  });

  test('a raise is there at once, a lower limit takes back what is idle, and by hand it is the same', async () => {
    await setPlatform('5');
    const [tenantId = ''] = await tenants(1);
    expect((await reserve(tenantId, '5')).status).toBe(201);
    expect((await reserve(tenantId, '1')).status).toBe(429);
    await setPlatform('100');
    expect((await reserve(tenantId, '1')).status).toBe(201);
    expect(Number((await platform()).leasedUsd)).toBeGreaterThan(6);
    await stack.admin.query('UPDATE copilot_internal.cost_quotas SET limit_usd = 6 WHERE tenant_id IS NULL');
    expect(await platform()).toMatchObject({ limitUsd: '6', reservedUsd: '6', leasedUsd: '6' });
    expect((await reserve(tenantId, '0.5')).status).toBe(429);
  });

  test('a new one counts what tenants have spent and hold already', async () => {
    const [spender = '', other = ''] = await tenants(2);
    const granted = await reserve(spender, '3');
    await call('POST', `/v1/reservations/${String(granted.body.operationId)}/commit`, {
      tenantId: spender,
      costUsd: '3',
    });
    expect((await reserve(spender, '2')).status).toBe(201);
    await until('the commit is folded', async () => (await stack.books(spender)).spentUsd === '3');
    await setPlatform('6');
    expect(await platform()).toMatchObject({ spentUsd: '3', reservedUsd: '2', leasedUsd: '5' });
    expect((await reserve(other, '2')).status).toBe(429);
    expect((await reserve(other, '1')).status).toBe(201);
  });

  test('a partial grant takes what the platform has left; a tenant out of its own money draws nothing', async () => {
    await setPlatform('4');
    const [tenantId = ''] = await tenants(1);
    expect((await reserve(tenantId, '3')).status).toBe(201);
    const partial = await reserve(tenantId, '3', { minimumUsd: '0.5' });
    expect(partial).toMatchObject({ status: 201, body: { partial: true, grantedUsd: '1' } });
    const poor = await stack.tenant('0.1');
    expect(await reserve(poor, '0.2')).toMatchObject({ status: 429, body: { quotaDetails: { scope: 'tenant' } } });
    expect(await platform()).toMatchObject({ reservedUsd: '4', leasedUsd: '4' });
  });

  test('its period ends: spend starts at zero, holds carry over, and what was leased and not used is lost', async () => {
    await setPlatform('10', { period: 'day' });
    const [sleeper = '', awake = ''] = await tenants(2);
    const spent = await reserve(sleeper, '4');
    await call('POST', `/v1/reservations/${String(spent.body.operationId)}/commit`, {
      tenantId: sleeper,
      costUsd: '4',
    });
    expect((await reserve(sleeper, '2', { ttlSeconds: 3_000 })).status).toBe(201);
    await until('the commit is folded', async () => (await stack.books(sleeper)).spentUsd === '4');
    // As if all of it had been yesterday.
    await stack.admin.query(
      `UPDATE copilot_internal.cost_quotas SET period_start = period_start - interval '1 day', period_end = period_end - interval '1 day'
       WHERE period = 'day'`,
    );
    expect((await reserve(awake, '8')).status).toBe(201);
    expect((await reserve(awake, '0.1')).status).toBe(429);
    expect(await platform()).toMatchObject({ spentUsd: '0', reservedUsd: '10', leasedUsd: '10' });
  });

  test('warns once at its threshold; tenants see their own spend, and no lease', async () => {
    await setPlatform('10', { warningThreshold: 0.5 });
    const [first = '', second = ''] = await tenants(2);
    const granted = await reserve(first, '6');
    await call('POST', `/v1/reservations/${String(granted.body.operationId)}/commit`, {
      tenantId: first,
      costUsd: '6',
    });
    await until('the commit is folded', async () => (await stack.books(first)).spentUsd === '6');
    expect((await reserve(second, '1')).status).toBe(201);
    expect((await reserve(second, '1')).status).toBe(201);
    const { rows } = await stack.admin.query(
      `SELECT kind, threshold::float8 AS threshold, details ->> 'spentUsd' AS spent
       FROM copilot_internal.quota_alerts WHERE tenant_id IS NULL`,
    );
    expect(rows).toEqual([{ kind: 'quota_warning', threshold: 0.5, spent: '6' }]);
    // XE9: a lease is no limit of the tenant's; the platform's figures are the administration's.
    for (const where of ['quotas', 'overview']) {
      const shown = (await call('GET', `/v1/tenants/${second}/${where}`)).body.quotas as { scope: string }[];
      expect(shown.map(({ scope }) => scope).filter((scope) => scope !== 'tenant')).toEqual([]);
      expect(shown.length).toBeGreaterThan(0);
    }
    expect(await platform()).toMatchObject({ spentUsd: '6', reservedUsd: '2' });
    expect((await spendlock(api, 'budget', 'show', '--platform')).out).toMatch(/\$6\.00.*\$2\.00/);
    expect((await api.request('/v1/platform/quotas', { key: await api.keyOf(second) })).status).toBe(403);
  });

  test('is removed for good, also with money held of it; made again it has forgotten nothing', async () => {
    await setPlatform('2');
    const [first = '', second = ''] = await tenants(2);
    const held = await reserve(first, '2');
    expect((await reserve(second, '1')).status).toBe(429);
    const order = {
      body: { reason: 'no common limit', author: 'ada' },
      headers: { 'idempotency-key': randomUUID() },
    };
    const removed = await api.call('POST', '/v1/platform/quotas/remove', order);
    expect(removed).toMatchObject({ status: 200, body: { resourceType: 'all', period: 'month', removed: true } });
    expect(await api.call('POST', '/v1/platform/quotas/remove', order)).toEqual(removed);
    const again = ['budget', 'remove', '--platform', '--reason', 'again'];
    expect(await spendlock(api, ...again)).toMatchObject({
      status: 1,
      err: expect.stringContaining('The platform has no all quota per month') as string,
    });
    // The next decision goes without it, and what was held is settled.
    expect((await reserve(second, '100')).status).toBe(201);
    const settled = { tenantId: first, costUsd: '1.5' };
    expect((await call('POST', `/v1/reservations/${String(held.body.operationId)}/commit`, settled)).status).toBe(200);
    await until('the commit is folded', async () => (await stack.books(first)).spentUsd === '1.5');
    for (const tenantId of [first, second])
      expect(await call('GET', `/v1/tenants/${tenantId}/books`)).toMatchObject({ body: { differences: [] } });
    const quotas = [{ resourceType: 'all', limitUsd: '200' }];
    await call('PUT', '/v1/platform/quotas', { quotas, reason: 'a limit again', author: 'ada' });
    expect(await platform()).toMatchObject({ limitUsd: '200', spentUsd: '1.5', reservedUsd: '100' });
    const { entries } = await api.admin.audit.list({ limit: 3 });
    expect(entries).toMatchObject([
      { action: 'set_platform_quotas', author: 'ada', details: { quotas, reason: 'a limit again' } },
      {
        action: 'remove_platform_quota',
        author: 'ada',
        details: { reason: 'no common limit', removed: { limitUsd: '2', spentUsd: '0', reservedUsd: '2' } },
      },
      { action: 'set_platform_quotas', details: { quotas: [{ limitUsd: '2' }] } },
    ]);
  });

  test("a told cost beyond its bound leaves another tenant's money", async () => {
    await setPlatform('10');
    const [first = '', second = ''] = await tenants(2);
    const key = await api.keyOf(first, 'agent');
    const { operationId } = (await reserve(first, '0.01')).body;
    const told = (costUsd: string): Promise<Answer> =>
      api.call('POST', `/v1/reservations/${String(operationId)}/commit`, { key, body: { costUsd } });
    // More than a hundred times its grant, and all of the platform's quota.
    expect(await told('1000')).toMatchObject({ status: 422, body: { error: 'cost_unconfirmed' } });
    expect(await platform()).toMatchObject({ spentUsd: '0', reservedUsd: '0.01' });
    // All that the first does not hold is still there for the second.
    expect((await reserve(second, '9.99')).status).toBe(201);
    expect((await reserve(second, '0.01')).status).toBe(429);
    expect((await told('0.5')).status).toBe(200);
    await until('the commit is folded', async () => (await stack.books(first)).spentUsd === '0.5');
    expect(await platform()).toMatchObject({ spentUsd: '0.5', reservedUsd: '9.99' });
  });

  test('decisions of one tenant go on while another holds the platform', async () => {
    await setPlatform('1000');
    const [tenantId = ''] = await tenants(1);
    expect((await reserve(tenantId, '1')).status).toBe(201);
    const client = await stack.admin.connect();
    try {
      await client.query('BEGIN');
      await client.query('SELECT FROM copilot_internal.cost_quotas WHERE tenant_id IS NULL FOR UPDATE');
      // Its lease has some left.
      expect((await reserve(tenantId, '1')).status).toBe(201);
      // This one has to wait for the platform, and holds nothing up.
      const large = reserve(tenantId, '500');
      expect((await reserve(tenantId, '1')).status).toBe(201);
      await client.query('ROLLBACK');
      expect((await large).status).toBe(201);
    } finally {
      client.release();
    }
  });
});
