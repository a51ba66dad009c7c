/** Limits that are watched and refuse nothing: counted whoever decides, told once, shown, and made to bind by one order (docs/decisions/0062). */
import { randomUUID } from 'node:crypto';
import { lookAtBooks, repairBooks } from '../../store/books';
import { decideAndRecord } from '../../store/budget-batch';
import { asTenant, type PoolClient } from '../../store/pool';
import { exportTenant } from '../../store/tenant-export';
import { reserve } from '../support/budget-model';
import { spendlock } from '../support/cli';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import { until, type TestStack } from '../support/stack';

const search = { team: 'search' };

describe('a limit that is only watched', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  const watch = (tenantId: string, limitUsd: string, more: object = {}) =>
    api.admin.tenants.setQuotas(tenantId, [{ resourceType: 'all', period: 'day', limitUsd, enforced: false, ...more }]);
  const ask = (tenantId: string, amountUsd: string, more: object = {}) =>
    api.call('POST', '/v1/reservations', {
      body: { tenantId, operationId: randomUUID(), resource: 'llm', amountUsd, ...more },
    });
  const shown = async (tenantId: string, query: object = {}) =>
    (await api.admin.tenants.quotas(tenantId, query)).shadowQuotas;
  const balances = async (tenantId: string, query: object = {}) =>
    (await shown(tenantId, query)).map(({ scope, spentUsd, reservedUsd }) => [scope, spentUsd, reservedUsd]);
  const agree = async (tenantId: string): Promise<void> => expect(await lookAtBooks(stack.pool, tenantId)).toEqual([]);
  /** What a process of the version before does. */
  const before = <T>(tenantId: string, work: (client: PoolClient) => Promise<T>): Promise<T> =>
    asTenant(stack.pool, tenantId, work, { settings: { 'spendlock.shadow_quotas': '' } });
  const change = (more: object): string =>
    JSON.stringify([
      {
        ...{ sequence: 0, operationId: randomUUID(), resource: 'llm', reservedDeltaUsd: 0, spentDeltaUsd: 0 },
        ...{ postedAt: new Date().toISOString(), grant: true, enforced: true, ...more },
      },
    ]);

  test('stands beside one that binds, counts, tells once what it would have refused, and has no say in it', async () => {
    const tenantId = await stack.tenant('100');
    await watch(tenantId, '5', { warningThreshold: 0.5 });
    const operationId = randomUUID();
    expect(await ask(tenantId, '4', { operationId })).toMatchObject({ status: 201, body: { partial: false } });
    expect(await ask(tenantId, '8')).toMatchObject({ status: 201, body: { grantedUsd: '8', partial: false } });
    expect(await ask(tenantId, '8')).toMatchObject({ status: 201 });
    const check = { tenantId, estimatedUsd: '50' };
    expect(await api.call('POST', '/v1/quota-checks', { body: check })).toMatchObject({ status: 200 });
    await api.admin.commit(operationId, { tenantId, costUsd: '3' });
    await until('its cost is counted', async () => (await balances(tenantId))[0]?.[1] === '3');
    expect(await balances(tenantId)).toEqual([['tenant', '3', '16']]);
    const denied = await ask(tenantId, '90');
    expect(denied).toMatchObject({ status: 429, body: { quota: { limitUsd: '100', period: 'month' } } });
    const { alerts } = await api.admin.alerts.list({ tenantId });
    const of = alerts.map(({ kind, threshold, details }) => [kind, threshold, details.limitUsd, details.enforced]);
    expect(of.sort()).toEqual([
      ['quota_exceeded', null, '100', undefined],
      ['quota_exceeded', null, '5', false],
      ['quota_warning', 0.5, '5', false],
    ]);
    await until('its alert is sent', async () =>
      (await api.admin.alerts.list({ tenantId })).alerts.every(({ sentAt }) => sentAt !== null),
    );
    const overview = await api.admin.tenants.overview(tenantId);
    expect([overview.quotas.length, overview.shadowQuotas]).toMatchObject([3, [{ limitUsd: '5', remainingUsd: '0' }]]);
    await api.admin.budget.adjust(tenantId, { operationId, costUsd: '4', reason: 'the bill' });
    expect(await balances(tenantId)).toEqual([['tenant', '4', '16']]);
    await agree(tenantId);
  });

  test('is of a user or a label too, begins with what is on record and held, and is mended with the others', async () => {
    const tenantId = await stack.tenant('100');
    const spent = randomUUID();
    await ask(tenantId, '2', { operationId: spent, userId: 'ada', labels: search });
    await api.admin.commit(spent, { tenantId, costUsd: '1.5' });
    await until(
      'its cost is counted',
      async () => (await api.admin.tenants.quotas(tenantId)).quotas[0]?.spentUsd === '1.5',
    );
    await ask(tenantId, '3', { userId: 'ada', labels: search });
    await ask(tenantId, '20', { userId: 'bob', labels: { team: 'ads' } });
    const payers = { userId: 'ada', label: ['team:search'] };
    await watch(tenantId, '5', { scope: 'user', scopeId: 'ada' });
    await watch(tenantId, '5', { scope: 'label', scopeId: 'team:search' });
    expect(await balances(tenantId, payers)).toEqual([
      ['label', '1.5', '3'],
      ['user', '1.5', '3'],
    ]);
    expect(await ask(tenantId, '4', { userId: 'ada', labels: search })).toMatchObject({ status: 201 });
    expect(await ask(tenantId, '4', { userId: 'bob', labels: { team: 'ads' } })).toMatchObject({ status: 201 });
    expect((await balances(tenantId, payers)).map(([, , reserved]) => reserved)).toEqual(['7', '7']);
    expect(await balances(tenantId, { userId: 'bob' })).toEqual([]);
    expect((await api.admin.alerts.list({ tenantId })).alerts.map(({ details }) => details.scope).sort()).toEqual([
      'label',
      'user',
    ]);
    await agree(tenantId);
    let exported = '';
    for await (const part of exportTenant(stack.pool, tenantId)) exported += part;
    expect(exported).toContain('"scope": "shadow_user"');
    await stack.admin.query(
      `UPDATE copilot_internal.cost_quotas SET reserved_usd = 1 WHERE tenant_id = $1 AND scope LIKE 'shadow%'`,
      [tenantId],
    );
    expect(await lookAtBooks(stack.pool, tenantId)).toHaveLength(2);
    await repairBooks(stack.pool, { tenantId, by: { author: 'a test' }, reason: 'a test', apply: true });
    await agree(tenantId);
    expect((await balances(tenantId, payers)).map(([, , reserved]) => reserved)).toEqual(['7', '7']);
  });

  test('an order about a limit that is not there says how it is, and makes nothing; the only cover of a user is told as it goes', async () => {
    const tenantId = `t-${randomUUID()}`;
    await api.admin.tenants.create({ tenantId });
    await api.admin.budget.setUserDefaults(tenantId, {
      quotas: [{ resourceType: 'llm', period: 'day', limitUsd: '1' }],
    });
    const ofUser = { scope: 'user', scopeId: 'typo', resourceType: 'llm', period: 'day', reason: 'a test' };
    for (const order of ['quotas/watch', 'quotas/enforce', 'quotas/remove'])
      expect(await api.call('POST', `/v1/tenants/${tenantId}/${order}`, { body: ofUser })).toMatchObject({
        status: 409,
      });
    const { rows } = await stack.admin.query(
      "SELECT FROM copilot_internal.cost_quotas WHERE tenant_id = $1 AND scope = 'user'",
      [tenantId],
    );
    expect(rows).toHaveLength(0);

    const other = `t-${randomUUID()}`;
    await api.admin.tenants.create({ tenantId: other });
    await stack.admin.query("DELETE FROM copilot_internal.cost_quotas WHERE tenant_id = $1 AND scope = 'tenant'", [
      other,
    ]);
    const ada = { scope: 'user', scopeId: 'ada', resourceType: 'all', period: 'month' } as const;
    await api.admin.tenants.setQuotas(other, [{ ...ada, limitUsd: '5' }]);
    const order = (path: string, more: object = {}) =>
      api.call('POST', `/v1/tenants/${other}/${path}`, { body: { ...ada, reason: 'a test', ...more } });
    expect(await order('quotas/enforce')).toMatchObject({
      body: { message: expect.stringContaining('binds already') as string },
    });
    expect(await order('quotas/watch')).toMatchObject({
      status: 200,
      body: {
        warnings: expect.arrayContaining([
          expect.stringContaining('No limit covers llm of user ada any more'),
        ]) as string[],
      },
    });
    expect(await order('topups', { amountUsd: '1' })).toMatchObject({
      status: 409,
      body: { message: expect.stringContaining('is only watched') as string },
    });
  });

  test('binds from the next decision on by one order, is watched by another, and each is in the audit', async () => {
    const tenantId = await stack.tenant('100');
    await watch(tenantId, '5', { period: 'month' });
    await ask(tenantId, '4');
    const why = ['--reason', 'tried for a week'];
    const enforced = await spendlock(api, 'budget', 'enforce', tenantId, ...why);
    expect(enforced).toMatchObject({
      status: 0,
      out: 'The all limit of $5.00 per month binds from the next decision on. It took the place of one of $100.00.\n',
    });
    expect(await ask(tenantId, '4')).toMatchObject({ status: 429, body: { quota: { limitUsd: '5' } } });
    expect(await shown(tenantId)).toEqual([]);
    const again = await spendlock(api, 'budget', 'enforce', tenantId, ...why);
    expect(again).toMatchObject({ status: 1, err: expect.stringContaining('binds already') as string });
    await api.admin.tenants.setQuotas(tenantId, [{ resourceType: 'llm', period: 'month', limitUsd: '50' }]);
    const watched = await spendlock(api, 'budget', 'watch', tenantId, ...why, '--json');
    expect(JSON.parse(watched.out)).toMatchObject({
      ...{ scope: 'tenant', limitUsd: '5', topupUsd: '0', enforced: false },
      warnings: [
        expect.stringContaining('covers resources of other names any more') as string,
        expect.stringContaining('Tools with a price are billed as e2b') as string,
      ],
    });
    const named = await ask(tenantId, '1', { resource: 'geocoding' });
    expect(named).toMatchObject({ status: 409, body: { error: 'quota_missing' } });
    expect(await ask(tenantId, '4')).toMatchObject({ status: 201 });
    expect(await balances(tenantId)).toEqual([['tenant', '0', '8']]);
    const { entries } = await api.admin.audit.list({ tenantId });
    expect(entries.map(({ action }) => action)).toEqual(
      expect.arrayContaining(['enforce_quota', 'watch_quota', 'set_quotas']),
    );
    const removed = await spendlock(api, 'budget', 'remove', tenantId, '--shadow', '--reason', 'tried');
    expect(removed).toMatchObject({ status: 0, out: 'The watched all limit per month is removed.\n' });
    expect(await shown(tenantId)).toEqual([]);
    expect((await api.admin.tenants.quotas(tenantId)).quotas.map(({ resourceType }) => resourceType)).toEqual([
      'e2b',
      'llm',
    ]);
    await agree(tenantId);
  });

  test('that takes the place of one which was topped up says what may be spent, and counts what asks for the whole first', async () => {
    const tenantId = await stack.tenant('100');
    await api.admin.budget.topUp(tenantId, { amountUsd: '10', reason: 'a launch', resourceType: 'all' });
    await watch(tenantId, '5', { period: 'month' });
    expect(await ask(tenantId, '4')).toMatchObject({ status: 201 });
    // A step that would rather wait than take less: 4 of 5 are held, and may come back.
    const command = { ...reserve(randomUUID(), '5', { minimumUsd: '0.5' }), prefersWhole: true };
    const options = { tenantId, commands: [command], enforced: { llm: true, e2b: true }, timeoutMs: 5_000 };
    expect((await decideAndRecord(stack.pool, options))?.decision.answers).toMatchObject([{ decision: 'granted' }]);
    const { alerts } = await api.admin.alerts.list({ tenantId });
    expect(alerts.map(({ kind, details }) => [kind, details.limitUsd, details.enforced])).toContainEqual([
      'quota_exceeded',
      '5',
      false,
    ]);
    const enforced = await api.admin.budget.enforceQuota(tenantId, { resourceType: 'all', reason: 'tried' });
    expect(enforced).toMatchObject({ limitUsd: '5', topupUsd: '10', replacedUsd: '100', warnings: [] });
  });

  test('is set by the command line and shown apart, of a label by the same words; the platform has none', async () => {
    const tenantId = await stack.tenant('100');
    const label = ['--label', 'team=search', '--period', 'day'];
    await spendlock(api, 'budget', 'set', tenantId, '--limit', '7', '--shadow', ...label);
    expect((await spendlock(api, 'budget', 'show', tenantId)).out).toMatch(
      /Watched, refusing nothing:\n[^]*label team:search/,
    );
    const enforced = await spendlock(api, 'budget', 'enforce', tenantId, ...label, '--reason', 'tried');
    expect(enforced).toMatchObject({ status: 0 });
    expect(await ask(tenantId, '8', { labels: search })).toMatchObject({ status: 429 });
    expect(await spendlock(api, 'budget', 'set', '--platform', '--limit', '7', '--shadow')).toMatchObject({
      status: 2,
      err: expect.stringContaining("'--shadow' cannot be used with option '--platform'") as string,
    });
  });

  test('is hidden from a process of the version before, which counts for it and raises nothing', async () => {
    const tenantId = await stack.tenant('100');
    await watch(tenantId, '5');
    await watch(tenantId, '5', { scope: 'user', scopeId: 'ada' });
    await watch(tenantId, '5', { scope: 'label', scopeId: 'team:search' });
    const label = { labels: search, resource: 'llm', reserved_usd: 8, spent_usd: 0, posted_at: null, is_grant: true };
    const changes = change({ userId: 'ada', reservedDeltaUsd: 8 });
    await stack.admin.query(
      `UPDATE copilot_internal.cost_quotas SET current_spend_usd = 9, period_start = period_start - interval '1 day',
         period_end = period_end - interval '1 day' WHERE tenant_id = $1 AND scope LIKE 'shadow%'`,
      [tenantId],
    );
    await before(tenantId, async (client) => {
      const rows = await client.query(`SELECT FROM copilot_internal.cost_quotas WHERE tenant_id = $1`, [tenantId]);
      expect(rows.rowCount).toBe(3);
      const loaded = await client.query<{ state: { quotas: object[] } }>(
        `SELECT copilot_internal.load_budget_batch($1, '{}', '{ada}', 0) AS state`,
        [tenantId],
      );
      expect(loaded.rows[0]?.state.quotas).toHaveLength(3);
      await client.query('SELECT copilot_internal.apply_quota_changes($1, $2)', [tenantId, changes]);
      await client.query('SELECT copilot_internal.apply_label_quotas($1, $2, $3, true)', [
        ...[tenantId, JSON.stringify([label]), changes],
      ]);
      const { rows: after } = await client.query(`SELECT current_setting('spendlock.shadow_quotas', true) AS knows`);
      expect(after).toEqual([{ knows: '' }]);
    });
    expect(await balances(tenantId)).toEqual([
      ['tenant', '0', '8'],
      ['label', '0', '8'],
      ['user', '0', '8'],
    ]);
  });

  test('is no limit of the guard', async () => {
    const tenantId = await stack.tenant('100');
    await watch(tenantId, '5');
    const apply = (reservedDeltaUsd: number) =>
      asTenant(stack.pool, tenantId, (client) =>
        client.query('SELECT copilot_internal.apply_quota_changes($1, $2)', [tenantId, change({ reservedDeltaUsd })]),
      );
    await apply(50);
    await expect(apply(51)).rejects.toThrow(/above its limit of 100/);
    expect(await balances(tenantId)).toEqual([['tenant', '0', '50']]);
  });
});
