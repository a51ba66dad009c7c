/** Limits of labels where something is unusual: steps of the version before, very many limits, values beyond those that are told apart. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BindingQuota } from '../../core/budget/commands';
import type { Labels } from '../../core/labels';
import { lookAtBooks } from '../../store/books';
import { decideAndRecord } from '../../store/budget-batch';
import { allowUnreserved } from '../../store/decided';
import { addWaiter, listWaiters } from '../../store/money-waiters';
import { exportTenant } from '../../store/tenant-export';
import { reserve } from '../support/budget-model';
import { spendlock } from '../support/cli';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import { until, type TestStack } from '../support/stack';

const search = { team: 'search' };

describe('a limit of a label', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  const limit = (tenantId: string, scopeId: string, limitUsd: string, more: object = {}) =>
    api.admin.tenants.setQuotas(tenantId, [
      { scope: 'label', scopeId, resourceType: 'all', period: 'day', limitUsd, ...more },
    ]);
  const ask = (tenantId: string, labels: Labels, amountUsd: string, more: object = {}) =>
    api.call('POST', '/v1/reservations', {
      body: { tenantId, operationId: randomUUID(), resource: 'llm', amountUsd, labels, ...more },
    });
  const check = (tenantId: string, labels: Labels, estimatedUsd: string) =>
    api.call('POST', '/v1/quota-checks', { body: { tenantId, labels, estimatedUsd } });
  const many = (tenantId: string, key: string, values: number) =>
    stack.admin.query(
      `INSERT INTO copilot_internal.cost_quotas (tenant_id, scope, scope_id, resource_type, period, limit_usd, period_start, period_end)
       SELECT $1, 'label', concat($2::text, ':x-', n), 'all', 'month', 0, b.period_start, b.period_end
       FROM generate_series(1, $3::integer) AS n, copilot_internal.period_bounds('month', now()) AS b`,
      [tenantId, key, values],
    );
  const thousandOf = (tenantId: string, key: string) =>
    stack.admin.query(
      `INSERT INTO copilot_internal.label_values SELECT $1, $2, 'v-' || n FROM generate_series(1, 1000) AS n`,
      [tenantId, key],
    );
  /** How much a statement reads. */
  const buffersOf = async (statement: string, values: unknown[] = []): Promise<number> => {
    const { rows } = await stack.admin.query<{ 'QUERY PLAN': { Plan: Record<string, number> }[] }>(
      `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${statement}`,
      values,
    );
    const plan = rows[0]?.['QUERY PLAN'][0]?.Plan ?? {};
    return (plan['Shared Hit Blocks'] ?? 0) + (plan['Shared Read Blocks'] ?? 0);
  };
  const namesTenant = async (tenantId: string): Promise<boolean> => {
    const { rows } = await stack.admin.query('SELECT FROM copilot_internal.look_after(1000) AS of WHERE of = $1', [
      tenantId,
    ]);
    return rows.length > 0;
  };

  test('binds a step of the version before that waits for it and says no labels of its own: nobody wakes it in vain', async () => {
    const tenantId = await stack.tenant('100');
    await limit(tenantId, 'team:search', '0.0001');
    const started = await stack.start({ tenantId, onDenied: 'wait', labels: search });
    await until('it waits', async () => (await stack.show({ tenantId, ...started })).status === 'waiting_for_money');
    const line = (set: string) =>
      stack.admin.query(`UPDATE copilot_internal.money_waiters SET ${set} WHERE tenant_id = $1`, [tenantId]);
    await line(`labels = NULL, woken_at = NULL, waiting_since = waiting_since - interval '1 minute'`);
    const [waiter] = await listWaiters(stack.pool, tenantId);
    if (!waiter) throw new Error('nobody waits');
    expect(waiter).toMatchObject({ labels: search });
    expect(await namesTenant(tenantId)).toBe(false);
    const asked = async (): Promise<number> => {
      const { rows } = await stack.admin.query('SELECT FROM copilot_internal.reservations WHERE tenant_id = $1', [
        tenantId,
      ]);
      return rows.length;
    };
    const before = await asked();
    await stack.signal(tenantId, [{ type: 'reload' }]);
    await sleep(1_500);
    expect(await asked()).toBe(before);
    // What is kept for it is kept from others of its label.
    await stack.admin.query(
      `UPDATE copilot_internal.cost_quotas SET limit_usd = 5 WHERE tenant_id = $1 AND scope = 'label'`,
      [tenantId],
    );
    await line(`kept_usd = 4, kept_until = now() + interval '1 minute'`);
    const denied = await ask(tenantId, search, '2');
    expect(denied).toMatchObject({ status: 429, body: { quota: { scopeId: 'team:search', remainingUsd: '5' } } });
    expect((await stack.finish({ tenantId, ...started })).status).toBe('completed');
    // One of this version that goes on with its place says them.
    const quota = denied.body.quota as BindingQuota;
    const unlabelled = { ...waiter, runId: undefined, labels: undefined, waiterId: randomUUID() };
    await addWaiter(stack.pool, unlabelled, { quota });
    await addWaiter(stack.pool, { ...unlabelled, labels: { team: 'ads' } }, { quota });
    expect(await listWaiters(stack.pool, tenantId)).toMatchObject([{ labels: { team: 'ads' } }]);
  });

  test('is in the export of its tenant', async () => {
    const tenantId = await stack.tenant('100');
    await limit(tenantId, 'team:search', '5');
    let text = '';
    for await (const piece of exportTenant(stack.pool, tenantId)) text += piece;
    const lines = text
      .trim()
      .split('\n')
      .map((one) => JSON.parse(one) as { table?: string; row?: Record<string, unknown> });
    const exported = lines.filter(({ table, row }) => table === 'cost_quotas' && row?.scope === 'label');
    expect(exported).toMatchObject([{ row: { scope_id: 'team:search', limit_usd: 5 } }]);
  });

  test('that is passed refuses nothing that costs nothing where limits do not bind', async () => {
    const tenantId = await stack.tenant('100');
    await limit(tenantId, 'team:search', '5');
    await stack.admin.query(
      `UPDATE copilot_internal.cost_quotas SET current_spend_usd = 6 WHERE tenant_id = $1 AND scope = 'label'`,
      [tenantId],
    );
    const free = reserve(randomUUID(), '0', { labels: search });
    const enforced = { llm: false, e2b: false };
    const recorded = await decideAndRecord(stack.pool, { tenantId, commands: [free], enforced, timeoutMs: 5_000 });
    expect(recorded?.decision.answers).toMatchObject([{ decision: 'granted', grantedUsd: '0' }]);
  });

  test('is looked up by those that wait, of however many there are', async () => {
    const tenantId = await stack.tenant('100');
    await many(tenantId, 'team', 4_000);
    await stack.admin.query(
      `INSERT INTO copilot_internal.label_values SELECT $1, 'team', 'x-' || n FROM generate_series(1, 1000) AS n`,
      [tenantId],
    );
    await stack.admin.query(
      `INSERT INTO copilot_internal.money_waiters (waiter_id, tenant_id, workflow_id, resource, needed_usd, is_woken, waiting_since, labels)
       SELECT gen_random_uuid(), $1, 'w-' || n, 'llm', 1, true, now() - interval '1 minute', jsonb_build_object('team', 'x-' || n)
       FROM generate_series(1, 300) AS n`,
      [tenantId],
    );
    await stack.admin.query(
      'ANALYZE copilot_internal.cost_quotas, copilot_internal.label_values, copilot_internal.money_waiters',
    );
    const each = (await buffersOf('SELECT copilot_internal.look_after(1000)')) / 300;
    process.stdout.write(`a look at those that wait reads ${each.toFixed(0)} buffers for each\n`);
    expect(each).toBeLessThan(60);
    expect(await namesTenant(tenantId)).toBe(false);
    await stack.admin.query('DELETE FROM copilot_internal.money_waiters WHERE tenant_id = $1', [tenantId]);
  });

  test('is set as fast with thousands of open reservations as with few', async () => {
    const tenantId = await stack.tenant('100');
    await stack.admin.query(
      `INSERT INTO copilot_internal.reservations (operation_id, tenant_id, resource, kind, requested_usd, granted_usd, status, decided_at,
         expires_at, labels)
       SELECT gen_random_uuid(), $1, 'llm', 'test', 0.001, 0.001, 'granted', now(), now() + interval '1 hour', '{"team": "search"}'
       FROM generate_series(1, 3000)`,
      [tenantId],
    );
    await stack.admin.query('ANALYZE copilot_internal.reservations');
    const quota = { key: 'team', value: 'search', resourceType: 'all', period: 'day', limitUsd: '5' };
    const buffers = await buffersOf('SELECT copilot_internal.seed_label_quotas($1, $2, $3, 0)', [
      tenantId,
      JSON.stringify(quota),
      '[]',
    ]);
    process.stdout.write(`a limit beside 3,000 open reservations reads ${buffers} buffers\n`);
    expect(buffers).toBeLessThan(3_000);
    const { rows } = await stack.admin.query(
      `SELECT trim_scale(reserved_usd)::text AS reserved FROM copilot_internal.cost_quotas WHERE tenant_id = $1 AND scope = 'label'`,
      [tenantId],
    );
    expect(rows).toEqual([{ reserved: '3' }]);
  });

  test('of `other` says what it is, and when what others hold of it comes back', async () => {
    const tenantId = await stack.tenant('100');
    await thousandOf(tenantId, 'customer');
    await limit(tenantId, 'customer:other', '5', { period: 'lifetime' });
    expect(await ask(tenantId, { customer: 'c-2001' }, '5', { ttlSeconds: 60 })).toMatchObject({ status: 201 });
    const second = { customer: 'c-2002', team: 'search' };
    for (const denied of [await ask(tenantId, second, '1'), await check(tenantId, second, '1')]) {
      expect(denied).toMatchObject({
        status: 429,
        body: {
          quota: { scopeId: 'customer:other' },
          message: expect.stringContaining(
            'of label customer:other (all values of customer beyond those that are told apart, together) per lifetime has nothing left',
          ) as string,
        },
      });
      expect(denied.body.retryAfter).toBeGreaterThan(30);
      expect(denied.body.retryAfter).toBeLessThanOrEqual(60);
    }
  });

  test('by default binds a value that nobody has seen also before anything of it is decided', async () => {
    const tenantId = await stack.tenant('100');
    const quotas = [{ key: 'customer', resourceType: 'all', period: 'day', limitUsd: '1' }] as const;
    await api.admin.budget.setLabelDefaults(tenantId, { quotas: [...quotas] });
    const labels = { customer: 'new' };
    const bound = { scopeId: 'customer:new', limitUsd: '1', remainingUsd: '1' };
    expect(await check(tenantId, labels, '50')).toMatchObject({ status: 429, body: { quota: bound } });
    expect(await check(tenantId, labels, '1')).toMatchObject({ status: 200 });
    const command = reserve(randomUUID(), '50', { labels });
    expect(await allowUnreserved(stack.pool, { tenantId, command, enforced: { llm: true, e2b: true } })).toMatchObject({
      decision: 'denied',
      quota: { scopeId: 'customer:new' },
    });
    expect(await ask(tenantId, labels, '1')).toMatchObject({ status: 201 });
    expect(await check(tenantId, labels, '1')).toMatchObject({ status: 429, body: { quota: { remainingUsd: '0' } } });
    expect(await lookAtBooks(stack.pool, tenantId)).toEqual([]);
  });

  test('takes no place of the thousand of another key for what gets no money', async () => {
    const tenantId = await stack.tenant('100');
    await limit(tenantId, 'team:search', '5');
    await api.admin.budget.setLabelDefaults(tenantId, {
      quotas: [{ key: 'customer', resourceType: 'all', period: 'day', limitUsd: '1' }],
    });
    expect(await ask(tenantId, { team: 'ads', trace: 't-1', customer: 'new' }, '2')).toMatchObject({ status: 429 });
    const { rows } = await stack.admin.query<{ label: string }>(
      `SELECT key || ':' || value AS label FROM copilot_internal.label_values WHERE tenant_id = $1 ORDER BY 1`,
      [tenantId],
    );
    expect(rows.map(({ label }) => label)).toEqual(['customer:new', 'team:search']);
    // What is open when a limit comes is noted then, and is counted.
    expect(await ask(tenantId, { trace: 't-2' }, '3')).toMatchObject({ status: 201 });
    await limit(tenantId, 'trace:other', '5');
    await limit(tenantId, 'trace:t-2', '5');
    expect(await ask(tenantId, { trace: 't-2' }, '3')).toMatchObject({
      status: 429,
      body: { quota: { reservedUsd: '3' } },
    });
    expect(await ask(tenantId, { trace: 't-3' }, '9')).toMatchObject({ status: 201 });
    expect(await lookAtBooks(stack.pool, tenantId)).toEqual([]);
  });

  test('hides no limit of a user, of however many there are, and is named where its tenant is shown', async () => {
    const tenantId = await stack.tenant('100');
    await api.admin.tenants.setQuotas(tenantId, [
      { scope: 'user', scopeId: 'ada', resourceType: 'all', limitUsd: '5' },
    ]);
    await many(tenantId, 'team', 600);
    const { quotas, moreLabelQuotas } = await api.admin.tenants.quotas(tenantId);
    expect(quotas.filter(({ scope }) => scope === 'user')).toMatchObject([{ scopeId: 'ada' }]);
    expect(quotas.filter(({ scope }) => scope === 'label')).toHaveLength(600 - moreLabelQuotas);
    expect((await spendlock(api, 'tenants', 'show', tenantId)).out).toMatch(/label team:x-1\b/);
  });
});
