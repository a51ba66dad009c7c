/** Books that do not agree: the doctor tells, the repair shows and mends, and says so in the audit. */
import { randomUUID } from 'node:crypto';
import { command, spendlock } from '../support/cli';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import { type TestStack, until } from '../support/stack';

describe('the books', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  interface Found {
    tenantId: string | null;
    check: string;
    name: string;
    says: string;
  }
  const doctor = async (): Promise<{ status: number; differences: Found[]; words: string }> => {
    const environment = { DATABASE_URL: stack.database.appUrl };
    const { status, out } = await command(['doctor', '--books', '--json'], environment);
    const words = (await command(['doctor', '--books'], environment)).out;
    return { status, words, ...(JSON.parse(out) as { differences: Found[] }) };
  };
  interface Repair {
    status: number;
    differences: Found[];
    changes: { what: string; name: string; from: string; to: string }[];
  }
  const repair = async (...args: string[]): Promise<Repair> => {
    const { status, out, err } = await spendlock(api, 'budget', 'repair', ...args, '--json');
    if (out === '') throw new Error(err);
    return { status, ...(JSON.parse(out) as Omit<Repair, 'status'>) };
  };
  const post = (path: string, body: object) => api.call('POST', path, { body });
  const spend = async (tenantId: string, costUsd: string): Promise<string> => {
    const operationId = randomUUID();
    await post('/v1/reservations', { operationId, tenantId, userId: 'ada', resource: 'llm', amountUsd: '5' });
    await post(`/v1/reservations/${operationId}/commit`, { tenantId, costUsd });
    await until('it is folded', async () => {
      const { rows } = await stack.admin.query(
        'SELECT FROM copilot_internal.reservations WHERE operation_id = $1 AND outcome_folded',
        [operationId],
      );
      return rows.length === 1;
    });
    return operationId;
  };
  const hold = async (tenantId: string): Promise<string> => {
    const operationId = randomUUID();
    await post('/v1/reservations', {
      operationId,
      tenantId,
      userId: 'ada',
      resource: 'llm',
      amountUsd: '5',
      ttlSeconds: 86_400,
    });
    return operationId;
  };
  const audit = async (tenantId: string): Promise<unknown[]> =>
    (
      await stack.admin.query<Record<string, unknown>>(
        `SELECT author, details ->> 'reason' AS reason, jsonb_array_length(details -> 'changes') AS changes
         FROM copilot_internal.audit_entries WHERE tenant_id = $1 AND action = 'repair_books'`,
        [tenantId],
      )
    ).rows;

  test('agree in a clean installation that has spent, held, corrected and leased', async () => {
    await api.call('PUT', '/v1/platform/quotas', { body: { quotas: [{ resourceType: 'all', limitUsd: '1000' }] } });
    const tenantId = await stack.tenant('100', { userLimitUsd: '50' });
    const operationId = await spend(tenantId, '3');
    await spend(tenantId, '6');
    await hold(tenantId);
    await post(`/v1/tenants/${tenantId}/adjustments`, { operationId, costUsd: '2', reason: 'a test' });
    expect(await doctor()).toMatchObject({ status: 0, differences: [] });
    expect((await doctor()).words).toMatch(/The books agree \(\d+ tenants?\)/);
    expect(await repair(tenantId)).toMatchObject({ status: 0, differences: [], changes: [] });
    expect(await repair(tenantId, '--yes')).toMatchObject({ status: 0, differences: [], changes: [] });
    expect(await audit(tenantId)).toEqual([]);
  });

  test('broken by hand: the doctor tells each, the repair shows it, changes nothing before --yes, and mends it then', async () => {
    const tenantId = await stack.tenant('100', { userLimitUsd: '50' });
    const [revived, miscounted, corrected] = [
      await spend(tenantId, '3'),
      await spend(tenantId, '4'),
      await spend(tenantId, '1'),
    ];
    await hold(tenantId);
    const run = (text: string, values: unknown[] = [tenantId]) => stack.admin.query(text, values);
    // Money that is held by no row, and spend that is in no ledger.
    await run(
      `UPDATE copilot_internal.cost_quotas SET reserved_usd = reserved_usd + 55, current_spend_usd = current_spend_usd - 1 WHERE tenant_id = $1 AND scope = 'tenant'`,
    );
    // As it was when a reserve in another spelling revived an ended row.
    await run(
      `UPDATE copilot_internal.reservations SET status = 'granted', settlement = NULL, committed_usd = NULL, ended_at = NULL, expires_at = now() + interval '1 day' WHERE operation_id = $1`,
      [revived],
    );
    await run(`UPDATE copilot_internal.reservations SET committed_usd = 9 WHERE operation_id = $1`, [miscounted]);
    await run(
      `INSERT INTO copilot_internal.cost_records (tenant_id, operation_id, entry, user_id, kind, resource, amount_usd, settlement, posted_at)
       SELECT tenant_id, operation_id, 'correction', user_id, kind, resource, 0.5, 'actual', posted_at FROM copilot_internal.reservations WHERE operation_id = $1`,
      [corrected],
    );
    await run(`UPDATE copilot_internal.daily_costs SET cost_usd = cost_usd + 7 WHERE tenant_id = $1`);
    const told = await doctor();
    expect(told.status).toBe(1);
    const mine = told.differences.filter((one) => one.tenantId === tenantId);
    expect(new Set(mine.map(({ check }) => check))).toEqual(new Set(['balance', 'reservation', 'day']));
    expect(
      mine
        .filter(({ check }) => check === 'reservation')
        .map(({ name }) => name)
        .sort(),
    ).toEqual([revived, miscounted, corrected].sort());
    expect(told.words).toContain('budget repair TENANT');
    const shown = await repair(tenantId);
    expect(shown).toMatchObject({ status: 0 });
    expect(shown.changes).toContainEqual({ what: 'reservation', name: revived, from: 'granted', to: 'committed at 3' });
    expect(shown.changes).toContainEqual({
      what: 'reservation',
      name: corrected,
      from: 'committed at 1',
      to: 'committed at 1.5',
    });
    expect(shown.changes).toContainEqual({
      what: 'balance',
      name: 'tenant all month',
      from: 'spent 7, reserved 60',
      to: 'spent 8.5, reserved 5',
    });
    // Shown is not done.
    expect((await doctor()).differences).toEqual(told.differences);
    expect(await audit(tenantId)).toEqual([]);
    const words = await spendlock(api, 'budget', 'repair', tenantId);
    expect(words.out).toContain('Nothing was changed.');
    const mended = await repair(tenantId, '--yes', '--reason', 'after the upgrade');
    expect(mended).toMatchObject({ status: 0, differences: [], changes: shown.changes });
    expect(await doctor()).toMatchObject({ status: 0, differences: [] });
    expect(await audit(tenantId)).toEqual([
      { author: expect.any(String) as unknown, reason: 'after the upgrade', changes: shown.changes.length },
    ]);
    expect(await stack.books(tenantId)).toMatchObject({ spentUsd: '8.5', ledgerUsd: '8.5', reservedUsd: '5' });
    // The tenant goes on.
    await spend(tenantId, '2');
    expect(await doctor()).toMatchObject({ status: 0, differences: [] });
  });

  test('what no row tells is left to a person, and said', async () => {
    const tenantId = await stack.tenant('100');
    const lost = await spend(tenantId, '3');
    await stack.admin.query(`DELETE FROM copilot_internal.cost_records WHERE operation_id = $1`, [lost]);
    const mended = await repair(tenantId, '--yes');
    expect(mended).toMatchObject({ status: 1, differences: [{ check: 'reservation', name: lost }] });
    expect(mended.changes.map(({ what }) => what)).toContain('balance');
    await stack.admin.query(`DELETE FROM copilot_internal.reservations WHERE operation_id = $1`, [lost]);
    expect(await doctor()).toMatchObject({ status: 0 });
  });

  test('leases beyond the limit of the platform are told', async () => {
    await api.call('PUT', '/v1/platform/quotas', { body: { quotas: [{ resourceType: 'e2b', limitUsd: '10' }] } });
    const tenantId = await stack.tenant('100');
    await post('/v1/reservations', { operationId: randomUUID(), tenantId, resource: 'e2b', amountUsd: '1' });
    const lease = (change: string) =>
      stack.admin.query(
        `UPDATE copilot_internal.cost_quotas SET limit_usd = limit_usd + ${change} WHERE tenant_id = $1 AND lease_of IS NOT NULL AND resource_type = 'e2b'`,
        [tenantId],
      );
    await lease('50');
    expect((await doctor()).differences).toMatchObject([
      { tenantId: null, check: 'lease', name: 'platform e2b month' },
    ]);
    await lease('-50');
    expect(await doctor()).toMatchObject({ status: 0, differences: [] });
  });

  test("are administration's: a tenant's key may not mend them", async () => {
    const tenantId = await stack.tenant('10');
    const key = await api.keyOf(tenantId);
    for (const [method, path] of [
      ['GET', 'books'],
      ['POST', 'books/repair'],
    ] as const) {
      const body = method === 'POST' ? { body: { reason: 'mine' } } : {};
      expect(await api.call(method, `/v1/tenants/${tenantId}/${path}`, { key, ...body })).toMatchObject({
        status: 403,
      });
    }
  });

  test.each([
    ['what is unverified', 'unverified_usd'],
    ['what caches saved', 'cache_saved_usd'],
  ])('a day whose sum of %s is wrong is told and mended too', async (_, column) => {
    const tenantId = await stack.tenant('100');
    await spend(tenantId, '2');
    await stack.admin.query(`UPDATE copilot_internal.daily_costs SET ${column} = 1 WHERE tenant_id = $1`, [tenantId]);
    const told = (await doctor()).differences.filter((one) => one.tenantId === tenantId);
    expect(told.map(({ check }) => check)).toEqual(['day']);
    const mended = await repair(tenantId, '--yes', '--reason', 'a test');
    expect(mended.changes.map(({ what }) => what)).toEqual(['day']);
    expect((await doctor()).differences.filter((one) => one.tenantId === tenantId)).toEqual([]);
    const { rows } = await stack.admin.query(
      `SELECT trim_scale(${column})::text AS sum FROM copilot_internal.daily_costs WHERE tenant_id = $1`,
      [tenantId],
    );
    expect(rows).toEqual([{ sum: '0' }]);
  });
});
