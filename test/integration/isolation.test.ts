/** No tenant sees, spends or holds up another's money, and no user another's within a tenant (V3). */
import { randomUUID } from 'node:crypto';
import { type Answer, type TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import { type TestStack, until } from '../support/stack';

describe('isolation', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  const reserve = (key: string, amountUsd: string, more: object = {}): Promise<Answer> => {
    const body = { operationId: randomUUID(), resource: 'llm', amountUsd, ...more };
    return api.call('POST', '/v1/reservations', { key, body });
  };
  interface Payer {
    tenantId: string;
    key: string;
  }
  const payer = async (): Promise<Payer> => {
    const tenantId = await stack.tenant('5');
    return { tenantId, key: await api.keyOf(tenantId) };
  };
  /** Two tenants of the same limit, each with a key of its own. */
  const pair = (): Promise<[Payer, Payer]> => Promise.all([payer(), payer()]);

  test('what one spends does not show in another, nor block it', async () => {
    const [one, other] = await pair();
    const { body } = await reserve(one.key, '5');
    await api.call('POST', `/v1/reservations/${String(body.operationId)}/commit`, {
      key: one.key,
      body: { costUsd: '5' },
    });
    await until('it is folded', async () => (await stack.books(one.tenantId)).openReservations === 0);
    expect((await reserve(one.key, '1')).status).toBe(429);
    expect((await reserve(other.key, '5')).status).toBe(201);
    expect(await stack.books(other.tenantId)).toMatchObject({ spentUsd: '0', ledgerUsd: '0', reservedUsd: '5' });
    expect(await stack.books(one.tenantId)).toMatchObject({ spentUsd: '5', ledgerUsd: '5', reservedUsd: '0' });
  });

  test('a key of one reaches nothing of another: not by name, not by operation', async () => {
    const [one, other] = await pair();
    const { body } = await reserve(one.key, '2');
    const where = `/v1/reservations/${String(body.operationId)}`;
    expect((await api.call('GET', where, { key: other.key })).status).toBe(404);
    expect(
      (await api.call('GET', `/v1/tenants/${one.tenantId}/quotas`, { key: other.key })).status,
    ).toBeGreaterThanOrEqual(403);
    expect(
      (await api.call('GET', `/v1/tenants/${one.tenantId}/holds`, { key: other.key })).status,
    ).toBeGreaterThanOrEqual(403);
    expect((await reserve(other.key, '1', { tenantId: one.tenantId })).status).toBeGreaterThanOrEqual(403);
    for (const how of ['commit', 'extend', 'release']) {
      const more = how === 'commit' ? { costUsd: '1' } : how === 'extend' ? { ttlSeconds: 60 } : {};
      const answer = await api.call('POST', `${where}/${how}`, { key: other.key, body: more });
      // A release of what one does not know leaves a mark of one's own; all else is refused.
      if (how !== 'release') expect(answer.status).toBe(404);
    }
    expect((await api.call('GET', where, { key: one.key })).body).toMatchObject({ status: 'granted', grantedUsd: '2' });
    expect(await stack.books(one.tenantId)).toMatchObject({ reservedUsd: '2', ledgerUsd: '0' });
    expect(await stack.books(other.tenantId)).toMatchObject({ reservedUsd: '0', ledgerUsd: '0' });
  });

  test('the same operation id of two tenants is two operations', async () => {
    const [one, other] = await pair();
    const operationId = randomUUID();
    expect((await reserve(one.key, '2', { operationId })).body).toMatchObject({ grantedUsd: '2' });
    expect((await reserve(other.key, '3', { operationId })).body).toMatchObject({ grantedUsd: '3' });
    await api.call('POST', `/v1/reservations/${operationId}/commit`, { key: one.key, body: { costUsd: '1' } });
    await until('it is folded', async () => (await stack.books(one.tenantId)).openReservations === 0);
    expect(await stack.books(other.tenantId)).toMatchObject({ reservedUsd: '3', ledgerUsd: '0', openReservations: 1 });
  });

  test('the usage of one names nothing of another', async () => {
    const [one, other] = await pair();
    const { body } = await reserve(one.key, '2', { model: 'a-model-of-one' });
    await api.call('POST', `/v1/reservations/${String(body.operationId)}/commit`, {
      key: one.key,
      body: { costUsd: '2' },
    });
    await until('it is folded', async () => (await stack.books(one.tenantId)).openReservations === 0);
    expect((await api.call('GET', '/v1/usage', { key: one.key })).body).toMatchObject({ costUsd: '2' });
    expect((await api.call('GET', '/v1/usage', { key: other.key })).body).toMatchObject({ costUsd: '0', lines: [] });
  });

  test('while decisions of one wait for its lock, another is decided', async () => {
    const [one, other] = await pair();
    const client = await stack.admin.connect();
    try {
      await client.query('BEGIN');
      await client.query('SELECT FROM copilot_internal.tenants WHERE tenant_id = $1 FOR UPDATE', [one.tenantId]);
      const held = reserve(one.key, '1');
      expect((await reserve(other.key, '1')).status).toBe(201);
      await client.query('ROLLBACK');
      expect((await held).status).toBe(201);
    } finally {
      client.release();
    }
  });

  test('a frozen tenant freezes no other, an alert of one is no alert of another', async () => {
    const [one, other] = await pair();
    await api.call('POST', `/v1/tenants/${one.tenantId}/freeze`, { body: { reason: 'a test' } });
    expect((await reserve(one.key, '1')).status).not.toBe(201);
    expect((await reserve(other.key, '6')).status).toBe(429);
    const { rows } = await stack.admin.query(
      'SELECT DISTINCT tenant_id FROM copilot_internal.quota_alerts WHERE tenant_id = ANY ($1)',
      [[one.tenantId, other.tenantId]],
    );
    expect(rows).toEqual([{ tenant_id: other.tenantId }]);
  });

  test('users of one tenant have limits of their own and share the one of their tenant', async () => {
    const tenantId = await stack.tenant('5');
    const key = await api.keyOf(tenantId);
    const quotas = ['ada', 'grace'].map((scopeId) => ({ scope: 'user', scopeId, resourceType: 'llm', limitUsd: '3' }));
    await api.call('PUT', `/v1/tenants/${tenantId}/quotas`, { body: { quotas } });
    expect((await reserve(key, '3', { userId: 'ada' })).status).toBe(201);
    expect(await reserve(key, '1', { userId: 'ada' })).toMatchObject({
      status: 429,
      body: { quotaDetails: { scope: 'user', scopeId: 'ada' } },
    });
    expect((await reserve(key, '2', { userId: 'grace' })).status).toBe(201);
    expect(await reserve(key, '1', { userId: 'grace' })).toMatchObject({
      status: 429,
      body: { quotaDetails: { scope: 'tenant' } },
    });
    const { rows } = await stack.admin.query(
      `SELECT scope_id, trim_scale(reserved_usd)::text AS reserved FROM copilot_internal.cost_quotas
       WHERE tenant_id = $1 AND scope = 'user' ORDER BY scope_id`,
      [tenantId],
    );
    expect(rows).toEqual([
      { scope_id: 'ada', reserved: '3' },
      { scope_id: 'grace', reserved: '2' },
    ]);
  });

  test('the same user name in two tenants is two users', async () => {
    const [one, other] = await Promise.all([
      stack.tenant('9', { userLimitUsd: '2' }),
      stack.tenant('9', { userLimitUsd: '2' }),
    ]);
    const [oneKey, otherKey] = await Promise.all([api.keyOf(one), api.keyOf(other)]);
    expect((await reserve(oneKey, '2', { userId: 'ada' })).status).toBe(201);
    expect((await reserve(otherKey, '2', { userId: 'ada' })).status).toBe(201);
    expect((await reserve(oneKey, '1', { userId: 'ada' })).status).toBe(429);
  });
});
