/** What operators steer, by API and by the command line, takes effect on the next decision. */
import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import path from 'node:path';
import { promisify } from 'node:util';
import { type Answer, type TestApi } from '../support/api';
import { spendlock as callSpendlock, type CommandEnd } from '../support/cli';
import { withInstallation } from '../support/installation';
import { type TestStack, until } from '../support/stack';

const run = promisify(execFile);

describe('control', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  const post = (where: string, body: unknown, key?: string): Promise<Answer> =>
    api.call('POST', where, { body, ...(key === undefined ? {} : { key }) });
  const reserve = (tenantId: string, amountUsd: string, more: object = {}): Promise<Answer> =>
    post('/v1/reservations', { operationId: randomUUID(), tenantId, resource: 'llm', amountUsd, ...more });
  const spendlock = (...args: string[]): Promise<CommandEnd> => callSpendlock(api, ...args);

  /** `npm run test-quota-enforcement`, against this installation. */
  const testQuotaEnforcement = (...args: string[]): Promise<{ stdout: string }> => {
    const script = path.join(__dirname, '..', '..', 'scripts', 'test-quota-enforcement.ts');
    const env = {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      SPENDLOCK_API_URL: api.url,
      SPENDLOCK_API_KEY: api.adminKey,
      SPENDLOCK_ADMIN_DATABASE_URL: stack.database.adminUrl,
    };
    return run(process.execPath, [path.join(__dirname, '..', '..', 'scripts', 'run.cjs'), script, ...args], { env });
  };

  test('the script for live installations finds quotas enforced, and leaves nothing behind (V2)', async () => {
    const { stdout } = await testQuotaEnforcement('--json');
    const report = JSON.parse(stdout) as { ok: boolean; tenantId: string; results: { check: string; ok: boolean }[] };
    expect(report.results.filter(({ ok }) => !ok)).toEqual([]);
    expect(report).toMatchObject({ ok: true });
    expect(report.results).toHaveLength(6);
    const { rowCount } = await stack.admin.query('SELECT FROM copilot_internal.tenants WHERE tenant_id = $1', [
      report.tenantId,
    ]);
    expect(rowCount).toBe(0);
  });

  test('the script tells an installation that does not enforce', async () => {
    await stack.admin.query(
      `CREATE FUNCTION copilot_internal.generous() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN NEW.limit_usd = greatest(NEW.limit_usd, 1000); RETURN NEW; END $$;
       CREATE TRIGGER generous BEFORE UPDATE ON copilot_internal.cost_quotas FOR EACH ROW
         WHEN (NEW.tenant_id LIKE 'quota-check-%') EXECUTE FUNCTION copilot_internal.generous()`,
    );
    try {
      const failed = testQuotaEnforcement();
      await expect(failed).rejects.toMatchObject({ code: 1 });
      await expect(failed).rejects.toHaveProperty('stdout', expect.stringContaining('FAILED  denies what does not'));
    } finally {
      await stack.admin.query('DROP FUNCTION copilot_internal.generous() CASCADE');
    }
  });

  test('raising and lowering a limit, below what is spent too (F21)', async () => {
    const tenantId = await stack.tenant('10');
    const granted = await reserve(tenantId, '8');
    await post(`/v1/reservations/${String(granted.body.operationId)}/commit`, { tenantId, costUsd: '8' });
    expect(await reserve(tenantId, '5')).toMatchObject({ status: 429 });
    const set = async (limitUsd: string): Promise<void> => {
      const quotas = (['all', 'llm'] as const).map((resourceType) => ({ resourceType, limitUsd }));
      await api.request(`/v1/tenants/${tenantId}/quotas`, { method: 'PUT', body: { quotas } });
    };
    await set('20');
    expect(await reserve(tenantId, '5')).toMatchObject({ status: 201 });
    await set('4');
    expect(await reserve(tenantId, '0.01')).toMatchObject({ status: 429, body: { quotaDetails: { remainingUsd: 0 } } });
  });

  test('a top-up lifts the limit; the guard below goes by it too', async () => {
    const tenantId = await stack.tenant('10');
    const topUp = (resourceType: string): Promise<Answer> =>
      post(`/v1/tenants/${tenantId}/topups`, { resourceType, amountUsd: '5', reason: 'launch' });
    expect(await topUp('all')).toMatchObject({ status: 200 });
    await topUp('llm');
    expect(await reserve(tenantId, '14')).toMatchObject({ status: 201 });
    expect(await reserve(tenantId, '2')).toMatchObject({ status: 429, body: { quotaDetails: { limitUsd: 15 } } });
  });

  test('a lifetime quota never resets, and says so', async () => {
    const tenantId = await stack.tenant('10');
    const quotas = [{ resourceType: 'llm', period: 'lifetime', limitUsd: '3' }];
    await api.request(`/v1/tenants/${tenantId}/quotas`, { method: 'PUT', body: { quotas } });
    const operationId = randomUUID();
    await reserve(tenantId, '2', { operationId, ttlSeconds: 600, onExpiry: 'settle' });
    // What is only held may come back at any moment.
    expect(await reserve(tenantId, '2')).toMatchObject({ status: 429, body: { retryAfter: 10 } });
    await post(`/v1/reservations/${operationId}/commit`, { tenantId, costUsd: '2' });
    await until('it is spent', async () => (await stack.books(tenantId)).openReservations === 0);
    const denied = await reserve(tenantId, '2');
    expect(denied).toMatchObject({ status: 429, body: { quotaDetails: { period: 'lifetime' } } });
    expect(denied.body).not.toHaveProperty('retryAfter');
    expect(denied.body.message).toContain('It never resets.');
  });

  test('the first ten calls of a user nobody has seen before are bound together (F1)', async () => {
    const tenantId = await stack.tenant('100');
    const quotas = [{ resourceType: 'all', period: 'month', limitUsd: '6' }];
    await post(`/v1/tenants/${tenantId}/user-defaults`, { quotas });
    const answers = await Promise.all(Array.from({ length: 10 }, () => reserve(tenantId, '2', { userId: 'ada' })));
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(3);
    expect(answers.find(({ status }) => status === 429)).toMatchObject({
      body: { quotaDetails: { scope: 'user', scopeId: 'ada', limitUsd: 6 } },
    });
    expect(await reserve(tenantId, '2', { userId: 'grace' })).toMatchObject({ status: 201 });
    expect(await reserve(tenantId, '20')).toMatchObject({ status: 201 });
  });

  test('XE2: a freeze is met at the gate with its reason, of a tenant and of a user', async () => {
    const tenantId = await stack.tenant('10');
    const key = await api.keyOf(tenantId);
    const check = (more: object = {}): Promise<Answer> =>
      post('/v1/quota-checks', { resource: 'llm', estimatedUsd: '0.01', ...more }, key);
    await post(`/v1/tenants/${tenantId}/freeze`, { userId: 'ada', reason: 'suspected leak' });
    const talk = await post('/v1/conversations', { userId: 'ada' }, key);
    const say = await post(
      `/v1/conversations/${String(talk.body.conversationId)}/messages`,
      { message: 'Hello?' },
      key,
    );
    expect(say).toMatchObject({ status: 403, body: { error: 'budget_frozen' } });
    expect(await check({ userId: 'ada' })).toMatchObject({ status: 403, body: { error: 'budget_frozen' } });
    expect(await check({ userId: 'grace' })).toMatchObject({ status: 200 });
    await post(`/v1/tenants/${tenantId}/freeze`, { reason: 'invoice overdue' });
    const started = await post('/v1/runs', { task: 'What is 2 + 2?' }, key);
    expect(started).toMatchObject({ status: 403, body: { error: 'budget_frozen' } });
    expect(started.body.message).toContain('invoice overdue');
    expect(started.body.message).toContain('The run was not started.');
    await post(`/v1/tenants/${tenantId}/unfreeze`, {});
    expect((await post('/v1/runs', { task: 'What is 2 + 2?' }, key)).status).toBe(202);
  });

  test('XE2: a freeze shows wherever quotas do', async () => {
    const tenantId = await stack.tenant('10');
    const key = await api.keyOf(tenantId);
    await post(`/v1/tenants/${tenantId}/freeze`, { userId: 'ada', reason: 'suspected leak' });
    await post(`/v1/tenants/${tenantId}/freeze`, { reason: 'invoice overdue' });
    const frozen = {
      frozenReason: 'invoice overdue',
      frozenUsers: [{ userId: 'ada', reason: 'suspected leak' }],
    };
    expect((await api.call('GET', `/v1/tenants/${tenantId}/overview`, { key })).body).toMatchObject(frozen);
    expect((await api.call('GET', `/v1/tenants/${tenantId}/quotas`, { key })).body).toMatchObject(frozen);
    const shown = await spendlock('budget', 'show', tenantId);
    expect(shown.out).toMatch(/FROZEN: invoice overdue.*\nFROZEN: user ada: suspected leak/);
    await post(`/v1/tenants/${tenantId}/unfreeze`, {});
    expect((await api.call('GET', `/v1/tenants/${tenantId}/quotas`, { key })).body.frozenReason).toBeNull();
  });

  test('XE2: who was refused by a freeze is among the denials, with its reason', async () => {
    const tenantId = await stack.tenant('10');
    await post(`/v1/tenants/${tenantId}/freeze`, { userId: 'ada', reason: 'suspected leak' });
    expect((await reserve(tenantId, '1', { userId: 'ada' })).status).toBe(403);
    const { body } = await api.call('GET', `/v1/tenants/${tenantId}/overview`);
    expect(body.denials).toMatchObject([
      { userId: 'ada', quota: null, reason: expect.stringContaining('suspected leak') as string },
    ]);
  });

  test('XE7: a call that cost more than was granted is told: an alert once a period, and in what operators read', async () => {
    const tenantId = await stack.tenant('10');
    const overrun = async (grantedUsd: string, costUsd: string): Promise<void> => {
      const { body } = await reserve(tenantId, grantedUsd);
      await post(`/v1/reservations/${String(body.operationId)}/commit`, { tenantId, costUsd });
    };
    const alerts = async (): Promise<Record<string, unknown>[]> =>
      ((await api.call('GET', `/v1/tenants/${tenantId}/overview`)).body.alerts as Record<string, unknown>[]).filter(
        ({ kind }) => kind === 'overrun',
      );
    await overrun('1', '1');
    await overrun('0.50', '2');
    await until('it is told and sent', async () => (await alerts()).some(({ sentAt }) => sentAt !== null));
    await overrun('0.50', '1');
    expect(await alerts()).toMatchObject([
      { threshold: null, details: { grantedUsd: '0.5', costUsd: '2', operationId: expect.any(String) as string } },
    ]);
  });

  test('a frozen tenant, and a frozen user, reserve nothing; what is reserved goes on', async () => {
    const tenantId = await stack.tenant('10');
    const before = await reserve(tenantId, '1');
    await post(`/v1/tenants/${tenantId}/freeze`, { userId: 'ada', reason: 'suspected leak' });
    expect(await reserve(tenantId, '1', { userId: 'ada' })).toMatchObject({
      status: 403,
      body: { error: 'budget_frozen' },
    });
    expect(await reserve(tenantId, '1', { userId: 'grace' })).toMatchObject({ status: 201 });
    await post(`/v1/tenants/${tenantId}/freeze`, { reason: 'invoice overdue' });
    const refused = await reserve(tenantId, '1');
    expect(refused).toMatchObject({ status: 403, body: { error: 'budget_frozen' } });
    expect(refused.body.message).toContain('invoice overdue');
    const committed = await post(`/v1/reservations/${String(before.body.operationId)}/commit`, {
      tenantId,
      costUsd: '1',
    });
    expect(committed.status).toBe(200);
    await post(`/v1/tenants/${tenantId}/unfreeze`, {});
    expect(await reserve(tenantId, '1')).toMatchObject({ status: 201 });
  });

  test('a cost is corrected by an entry with reason and author; an unverified one is then known', async () => {
    const tenantId = await stack.tenant('10');
    const granted = await reserve(tenantId, '4', { ttlSeconds: 1, onExpiry: 'settle' });
    const operationId = String(granted.body.operationId);
    const unverified = async (): Promise<unknown[]> => {
      const response = await api.request(`/v1/tenants/${tenantId}/holds?unverified=true`);
      return ((await response.json()) as { holds: unknown[] }).holds;
    };
    await until('it is settled at its estimate', async () => (await unverified()).length === 1);
    const order = { operationId, costUsd: '1.5', reason: 'invoice', author: 'ada' };
    expect(await post(`/v1/tenants/${tenantId}/adjustments`, order)).toMatchObject({
      status: 200,
      body: { differenceUsd: '-2.5' },
    });
    expect(await unverified()).toEqual([]);
    expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: '1.5', spentUsd: '1.5', reservedUsd: '0' });
    expect(await post(`/v1/tenants/${tenantId}/adjustments`, { ...order, costUsd: '2' })).toMatchObject({
      body: { differenceUsd: '0.5' },
    });
    const { rows } = await stack.admin.query(
      `SELECT entry, trim_scale(amount_usd)::text AS amount, reason, author FROM copilot_internal.cost_records
       WHERE tenant_id = $1 ORDER BY cost_record_id`,
      [tenantId],
    );
    expect(rows).toEqual([
      { entry: 'commit', amount: '4', reason: null, author: null },
      { entry: 'adjustment', amount: '-2.5', reason: 'invoice', author: 'ada' },
      { entry: 'adjustment', amount: '0.5', reason: 'invoice', author: 'ada' },
    ]);
    const { usage } = await api.clientOf(tenantId);
    const { records } = await usage.records();
    expect(records.map(({ entry, amountUsd, reason }) => ({ entry, amountUsd, reason }))).toEqual([
      { entry: 'commit', amountUsd: '4', reason: null },
      { entry: 'adjustment', amountUsd: '-2.5', reason: 'invoice' },
      { entry: 'adjustment', amountUsd: '0.5', reason: 'invoice' },
    ]);
    const lines = (await usage.exportCsv()).trim().split('\r\n');
    expect(lines.map((line) => line.split(',').slice(-2).join())).toEqual([
      'reason,labels',
      ',',
      'invoice,',
      'invoice,',
    ]);
    expect(await post(`/v1/tenants/${tenantId}/adjustments`, { ...order, costUsd: '-1' })).toMatchObject({
      status: 400,
    });
  });

  test('a cost that was told just now is corrected at once', async () => {
    const tenantId = await stack.tenant('10');
    for (const costUsd of ['1', '2', '3']) {
      const { body } = await reserve(tenantId, '3');
      const operationId = String(body.operationId);
      expect(await post(`/v1/reservations/${operationId}/commit`, { tenantId, costUsd })).toMatchObject({
        status: 200,
      });
      const order = { operationId, costUsd: '0.5', reason: 'invoice' };
      expect(await post(`/v1/tenants/${tenantId}/adjustments`, order)).toMatchObject({
        status: 200,
        body: { differenceUsd: String(0.5 - Number(costUsd)) },
      });
    }
    expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: '1.5', spentUsd: '1.5', reservedUsd: '0' });
    const open = String((await reserve(tenantId, '3')).body.operationId);
    const order = { operationId: open, costUsd: '1', reason: 'none was told' };
    expect(await post(`/v1/tenants/${tenantId}/adjustments`, order)).toMatchObject({
      status: 404,
      body: { error: 'unknown_operation' },
    });
  });

  test('what is unverified falls with its correction, in the usage and in the overview (XD9)', async () => {
    const tenantId = await stack.tenant('10');
    /** A claimed call of which nobody says what it cost. */
    const estimated = async (amountUsd: string): Promise<{ operationId: string; claimToken: string }> => {
      const granted = await reserve(tenantId, amountUsd, { ttlSeconds: 1, onExpiry: 'settle' });
      const operationId = String(granted.body.operationId);
      const claimed = await post(`/v1/reservations/${operationId}/claim`, { tenantId });
      return { operationId, claimToken: String(claimed.body.claimToken) };
    };
    const operations = [await estimated('1'), await estimated('2'), await estimated('4')] as const;
    const spent = async (): Promise<unknown> => {
      const usage = await api.call('GET', `/v1/usage?tenantId=${tenantId}&groupBy=run`);
      const [line] = usage.body.lines as { costUsd: string; unverifiedUsd: string }[];
      const overview = await api.call('GET', `/v1/tenants/${tenantId}/overview`);
      const { byDay } = overview.body.spend as { byDay: { costUsd: string; unverifiedUsd: string }[] };
      expect(byDay).toMatchObject([{ costUsd: line?.costUsd, unverifiedUsd: line?.unverifiedUsd }]);
      return [line?.costUsd, line?.unverifiedUsd];
    };
    await until('all are settled at their estimates', async () => (await stack.books(tenantId)).ledgerUsd === '7');
    expect(await spent()).toEqual(['7', '7']);
    const adjust = async (operationId: string, costUsd: string): Promise<void> => {
      const order = { operationId, costUsd, reason: 'invoice', author: 'ada' };
      expect(await post(`/v1/tenants/${tenantId}/adjustments`, order)).toMatchObject({ status: 200 });
    };
    await adjust(operations[0].operationId, '0.6');
    expect(await spent()).toEqual(['6.6', '6']);
    // An estimate that proves right is known as well.
    await adjust(operations[1].operationId, '2');
    expect(await spent()).toEqual(['6.6', '4']);
    // Its caller is heard of after all.
    const { operationId, claimToken } = operations[2];
    await post(`/v1/reservations/${operationId}/commit`, { tenantId, costUsd: '3.5', claimToken });
    await until('it is corrected', async () => (await stack.books(tenantId)).ledgerUsd === '6.1');
    expect(await spent()).toEqual(['6.1', '0']);
    await adjust(operationId, '3');
    expect(await spent()).toEqual(['5.6', '0']);
  });

  test('each threshold warns once', async () => {
    const tenantId = await stack.tenant('10');
    const quotas = [{ resourceType: 'llm', limitUsd: '10', warningThreshold: 0.5, moreWarningThresholds: [0.9] }];
    await api.request(`/v1/tenants/${tenantId}/quotas`, { method: 'PUT', body: { quotas } });
    for (const costUsd of ['4', '2', '1', '2.5']) {
      const granted = await reserve(tenantId, costUsd);
      await post(`/v1/reservations/${String(granted.body.operationId)}/commit`, { tenantId, costUsd });
    }
    await until('all is folded', async () => (await stack.books(tenantId)).openReservations === 0);
    const { rows } = await stack.admin.query(
      `SELECT a.threshold::float8 AS threshold FROM copilot_internal.quota_alerts a
       JOIN copilot_internal.cost_quotas q USING (quota_id)
       WHERE q.tenant_id = $1 AND q.resource_type = 'llm' AND a.kind = 'quota_warning' ORDER BY a.threshold`,
      [tenantId],
    );
    expect(rows).toEqual([{ threshold: 0.5 }, { threshold: 0.9 }]);
  });

  test('XE10: a quota is removed while money is held of it: what was held is settled, and made again it has forgotten nothing', async () => {
    const tenantId = await stack.tenant('10');
    await api.admin.tenants.setQuotas(tenantId, [
      { resourceType: 'llm', period: 'day', limitUsd: '2' },
      { resourceType: 'all', limitUsd: '10' },
    ]);
    const operationId = randomUUID();
    expect((await reserve(tenantId, '1.5', { operationId })).status).toBe(201);
    expect((await reserve(tenantId, '1')).status).toBe(429);
    const remove = { resourceType: 'llm', period: 'day', reason: 'no limit a day' };
    const named = { body: { ...remove, author: 'ada' }, headers: { 'idempotency-key': randomUUID() } };
    const removed = await api.call('POST', `/v1/tenants/${tenantId}/quotas/remove`, named);
    expect(removed).toMatchObject({ status: 200, body: { scope: 'tenant', period: 'day', removed: true } });
    expect(await api.call('POST', `/v1/tenants/${tenantId}/quotas/remove`, named)).toEqual(removed);
    expect(await post(`/v1/tenants/${tenantId}/quotas/remove`, remove)).toMatchObject({
      status: 409,
      body: { error: 'quota_missing' },
    });
    // The next decision goes without it.
    expect((await reserve(tenantId, '1')).status).toBe(201);
    expect((await post(`/v1/reservations/${operationId}/commit`, { tenantId, costUsd: '1.2' })).status).toBe(200);
    const spent = await until('the cost is in the ledger', async () => {
      const { rows } = await stack.admin.query<{ spent: string | null }>(
        'SELECT trim_scale(sum(amount_usd))::text AS spent FROM copilot_internal.cost_records WHERE tenant_id = $1',
        [tenantId],
      );
      return rows[0]?.spent ?? undefined;
    });
    expect(spent).toBe('1.2');
    const { quotas } = await api.admin.tenants.setQuotas(tenantId, [
      { resourceType: 'llm', period: 'day', limitUsd: '3' },
    ]);
    expect(quotas.find(({ period }) => period === 'day')).toMatchObject({ spentUsd: '1.2', reservedUsd: '1' });
    expect(await api.call('GET', `/v1/tenants/${tenantId}/books`)).toMatchObject({ body: { differences: [] } });
    const { rows: audit } = await stack.admin.query(
      `SELECT author, details FROM copilot_internal.audit_entries WHERE tenant_id = $1 AND action = 'remove_quota'`,
      [tenantId],
    );
    expect(audit).toMatchObject([
      { author: 'ada', details: { reason: 'no limit a day', removed: { limitUsd: '2', reservedUsd: '1.5' } } },
    ]);
  });

  test('XE10: a user whose own quota is removed has the default again, which is not removed with him', async () => {
    const tenantId = await stack.tenant('10');
    await post(`/v1/tenants/${tenantId}/user-defaults`, { quotas: [{ limitUsd: '1' }] });
    await api.admin.tenants.setQuotas(tenantId, [
      { scope: 'user', scopeId: 'ada', resourceType: 'all', limitUsd: '5' },
    ]);
    const remove = { scope: 'user', scopeId: 'ada', reason: 'as others' };
    expect((await post(`/v1/tenants/${tenantId}/quotas/remove`, remove)).status).toBe(200);
    expect((await reserve(tenantId, '2', { userId: 'ada' })).status).toBe(429);
    const { quotas } = await api.admin.tenants.quotas(tenantId, { userId: 'ada' });
    expect(quotas.filter(({ scope }) => scope === 'user')).toMatchObject([{ limitUsd: '1' }]);
    expect((await post(`/v1/tenants/${tenantId}/quotas/remove`, remove)).body.error).toBe('quota_missing');
  });

  test('a default of users that is replaced or taken away binds nobody any more; limits of a user himself stay', async () => {
    const tenantId = await stack.tenant('100');
    const set = (...quotas: object[]) => post(`/v1/tenants/${tenantId}/user-defaults`, { quotas });
    const limitsOf = async (userId: string): Promise<string[]> => {
      const { quotas } = await api.admin.tenants.quotas(tenantId, { userId });
      return quotas
        .filter(({ scope }) => scope === 'user')
        .map(({ resourceType, period, limitUsd }) => `${resourceType}/${period}=${limitUsd}`);
    };
    await set({ limitUsd: '5', period: 'day' }, { limitUsd: '4', period: 'week', resourceType: 'llm' });
    await api.admin.tenants.setQuotas(tenantId, [
      { scope: 'user', scopeId: 'ada', resourceType: 'llm', period: 'week', limitUsd: '3' },
    ]);
    for (const userId of ['ada', 'bob']) expect((await reserve(tenantId, '2', { userId })).status).toBe(201);
    expect((await reserve(tenantId, '6', { userId: 'bob' })).status).toBe(429);

    await set({ limitUsd: '20' });
    expect((await reserve(tenantId, '6', { userId: 'bob' })).status).toBe(201);
    expect((await reserve(tenantId, '13', { userId: 'bob' })).body).toMatchObject({
      quota: { scope: 'user', period: 'month', reservedUsd: '8' },
    });
    expect(await limitsOf('bob')).toEqual(['all/month=20']);
    expect((await reserve(tenantId, '2', { userId: 'ada' })).body.quota).toMatchObject({
      limitUsd: '3',
      period: 'week',
    });

    await set();
    expect((await reserve(tenantId, '30', { userId: 'bob' })).status).toBe(201);
    expect([await limitsOf('bob'), await limitsOf('ada')]).toEqual([[], ['llm/week=3']]);
  });

  test('XE10: what can be written can be read back, a limit that another covers is warned of, and changes say who and why', async () => {
    const tenantId = await stack.tenant('10');
    const get = async (what: string) => (await api.call('GET', `/v1/tenants/${tenantId}/${what}`)).body;
    expect(await get('policy')).toMatchObject({ tenantId, onUnavailable: 'wait' });
    const why = { reason: 'asked for', author: 'ada' };
    const policy = { onUnavailable: 'deny', answerTimeoutMs: 700 };
    await post(`/v1/tenants/${tenantId}/policy`, { ...policy, ...why });
    expect(await get('policy')).toEqual({ tenantId, ...policy });
    const quotas = [{ resourceType: 'llm', period: 'day', limitUsd: '0.5', warningThreshold: 0.9 }];
    await post(`/v1/tenants/${tenantId}/user-defaults`, { quotas, ...why });
    expect(await get('user-defaults')).toEqual({ tenantId, quotas });
    await post(`/v1/tenants/${tenantId}/freeze`, why);
    // The second lifts nothing, and is in no audit.
    for (const reasonBefore of [why.reason, null])
      expect((await post(`/v1/tenants/${tenantId}/unfreeze`, why)).body).toEqual({
        tenantId,
        frozen: false,
        reasonBefore,
      });
    const set = await spendlock('budget', 'set', tenantId, '--limit', '900', '--resource', 'llm', '--reason', 'a try');
    expect(set.out).toContain(
      'Mind: the llm quota of the tenant per month allows 900 USD, and the all quota of the tenant per month',
    );
    const removed = await spendlock('budget', 'remove', tenantId, '--resource', 'llm', '--reason', 'a try');
    expect(removed).toMatchObject({ status: 0, out: 'The llm limit per month is removed.\n' });
    const { rows } = await stack.admin.query<{ action: string; author: string; reason: string }>(
      `SELECT action, author, details ->> 'reason' AS reason FROM copilot_internal.audit_entries
       WHERE tenant_id = $1 ORDER BY audit_entry_id`,
      [tenantId],
    );
    expect(rows.map(({ action, reason }) => `${action}: ${reason}`)).toEqual([
      'set_quotas: null',
      'set_policy: asked for',
      'set_user_defaults: asked for',
      'freeze: asked for',
      'unfreeze: asked for',
      'set_quotas: a try',
      'remove_quota: a try',
    ]);
    expect(rows.slice(1, 5).map(({ author }) => author)).toEqual(['ada', 'ada', 'ada', 'ada']);
  });

  test('an order that names a user as if it were the tenant, a quota twice, or nothing to lift, changes nothing and is in no audit', async () => {
    const tenantId = await stack.tenant('10');
    const path = `/v1/tenants/${tenantId}`;
    const ada = { scopeId: 'ada', resourceType: 'all', reason: 'a try' };
    const limit = { resourceType: 'all', limitUsd: '5' };
    const refused = await Promise.all([
      api.call('PUT', `${path}/quotas`, { body: { quotas: [{ ...limit, scopeId: 'ada' }] } }),
      post(`${path}/topups`, { ...ada, amountUsd: '5' }),
      post(`${path}/quotas/remove`, ada),
      api.call('PUT', `${path}/quotas`, {
        body: { quotas: [limit, { ...limit, scope: 'tenant', scopeId: tenantId }] },
      }),
      post(`${path}/user-defaults`, { quotas: [{ limitUsd: '1' }, { limitUsd: '2' }] }),
      api.call('PUT', '/v1/platform/quotas', { body: { quotas: [limit, limit] } }),
      post(`${path}/topups`, { amountUsd: '0.00', reason: 'nothing' }),
      post(`${path}/topups`, { scope: 'user', scopeId: 'ada', amountUsd: '1', reason: 'there is none' }),
      post(`${path}/quotas/remove`, { resourceType: 'llm', period: 'day', reason: 'there is none' }),
      post(`${path}/adjustments`, { operationId: randomUUID(), costUsd: '1', reason: 'there is none' }),
    ]);
    const meant = expect.stringContaining('To mean user ada, say "scope": "user" too.') as string;
    const twice = expect.stringContaining('the all quota per month is in it twice') as string;
    expect(refused.map(({ status, body }) => [status, body.error, body.message])).toEqual([
      [400, 'invalid_request', meant],
      [400, 'invalid_request', meant],
      [400, 'invalid_request', meant],
      [400, 'invalid_request', twice],
      [400, 'invalid_request', twice],
      [400, 'invalid_request', twice],
      [400, 'invalid_amount', 'amountUsd: must be above zero. Nothing was done.'],
      [409, 'quota_missing', expect.anything()],
      [409, 'quota_missing', expect.anything()],
      [404, 'unknown_operation', expect.anything()],
    ]);
    const { quotas } = await api.admin.tenants.quotas(tenantId);
    expect(quotas.filter(({ resourceType }) => resourceType === 'all')).toMatchObject([
      { scope: 'tenant', limitUsd: '10', topupUsd: '0' },
    ]);
    const { entries } = await api.admin.audit.list({ tenantId });
    expect(entries.map(({ action, author }) => ({ action, author }))).toEqual([{ action: 'set_quotas', author: null }]);
  });

  test('what the audit tells of a change is an object, also of what versions before wrote as a list', async () => {
    const tenantId = await stack.tenant('10');
    const quotas = [{ scope: 'tenant', resourceType: 'llm', period: 'month', limitUsd: '5' }] as const;
    await api.admin.tenants.setQuotas(tenantId, [...quotas]);
    await stack.admin.query(
      `INSERT INTO copilot_internal.audit_entries (tenant_id, action, details) VALUES ($1, 'set_quotas', $2)`,
      [tenantId, JSON.stringify(quotas)],
    );
    const { entries } = await api.admin.audit.list({ tenantId, limit: 2 });
    expect(entries.map(({ details }) => details)).toMatchObject([{ quotas }, { quotas }]);
  });

  test('a tenant may not steer its own budget, and one without a name is refused', async () => {
    const tenantId = await stack.tenant('10');
    const key = await api.keyOf(tenantId);
    for (const [verb, body] of [
      ['topups', { amountUsd: '5', reason: 'more' }],
      ['unfreeze', {}],
      ['adjustments', { operationId: randomUUID(), costUsd: '0', reason: 'free' }],
    ] as const)
      expect(await post(`/v1/tenants/${tenantId}/${verb}`, body, key)).toMatchObject({
        status: 403,
        body: { error: 'forbidden' },
      });
    expect(await post('/v1/tenants/nobody/freeze', { reason: 'x' })).toMatchObject({ status: 404 });
    expect(await post(`/v1/tenants/${tenantId}/freeze`, {})).toMatchObject({ status: 400 });
  });

  describe('npx spendlock', () => {
    test('shows, sets, freezes and lists, in tables and as JSON', async () => {
      const tenantId = `cli-${randomUUID().slice(0, 8)}`;
      const added = await spendlock('tenants', 'add', tenantId, '--json');
      expect(JSON.parse(added.out)).toMatchObject({ tenantId, apiKey: expect.stringMatching(/^slk_/) as string });
      expect(await spendlock('budget', 'set', tenantId, '--limit', '12.5', '--resource', 'llm')).toMatchObject({
        status: 0,
      });
      const shown = await spendlock('budget', 'show', tenantId);
      expect(shown.out).toMatch(/tenant\s+│ llm\s+│ month\s+│\s+\$12\.50 │\s+\$0\.00/);
      await spendlock('budget', 'freeze', tenantId, '--reason', 'a test');
      const listed = await spendlock('tenants', 'list', '--json');
      const { tenants } = JSON.parse(listed.out) as { tenants: { tenantId: string; frozenReason: string | null }[] };
      expect(tenants.find((tenant) => tenant.tenantId === tenantId)).toMatchObject({ frozenReason: 'a test' });
      await spendlock('budget', 'unfreeze', tenantId);
      const granted = await reserve(tenantId, '1');
      const operationId = String(granted.body.operationId);
      // A caller outside Temporal may be in the middle of its call: nothing says that it is not.
      expect((await spendlock('holds', 'list', tenantId)).out).toMatch(new RegExp(`${operationId}.*not told`));
      expect(await spendlock('holds', 'release', tenantId, operationId, '--reason', 'a test')).toMatchObject({
        status: 0,
      });
      await until('it is released', async () => (await stack.books(tenantId)).openReservations === 0);
      expect((await spendlock('prices', 'sandboxes')).out).toContain('$0.0000045');
      expect((await spendlock('prices', 'list', '--model', 'gpt-4o')).out).toContain('gpt-4o-mini');
    });

    test('ends with 2 for wrong use and 1 for a refusal, and says why', async () => {
      expect(await spendlock('budget', 'set', 'acme', '--limit', '-3')).toMatchObject({ status: 2 });
      expect(await spendlock('budget', 'freeze', 'acme')).toMatchObject({ status: 2 });
      const refused = await spendlock('budget', 'show', 'nobody');
      expect(refused).toMatchObject({ status: 1, out: '' });
      expect(refused.err).toContain('unknown_tenant');
      expect(await spendlock('--help')).toMatchObject({ status: 0 });
    });
  });
});
