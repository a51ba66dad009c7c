/** Resources by name: limited, asked for, shown and bounded like models and sandboxes (docs/decisions/0057). */
import { randomUUID } from 'node:crypto';
import type { ReserveCommand } from '../../core/budget/commands';
import { sentAs } from '../../core/resources';
import { lookAtBooks } from '../../store/books';
import { decideAndRecord } from '../../store/budget-batch';
import { allowUnreserved } from '../../store/decided';
import { addWaiter, listWaiters } from '../../store/money-waiters';
import { asTenant, createPool } from '../../store/pool';
import { reserve } from '../support/budget-model';
import { spendlock } from '../support/cli';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import { olderInstallation } from '../support/older-installation';
import { until, type TestStack } from '../support/stack';

const enforced = { llm: true, e2b: true };

describe('a resource by name', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));

  const limit = (tenantId: string, resourceType: string, limitUsd: string, more: object = {}) =>
    api.admin.tenants.setQuotas(tenantId, [{ scope: 'tenant', resourceType, limitUsd, ...more }]);
  const ask = (tenantId: string, resource: string, amountUsd: string, more: object = {}) =>
    api.call('POST', '/v1/reservations', {
      body: { tenantId, operationId: randomUUID(), resource, amountUsd, ...more },
    });
  /** A tenant that limits models and sandboxes, and nothing together. */
  const ofTwo = async (): Promise<string> => {
    const tenantId = await stack.tenant('100');
    await limit(tenantId, 'llm', '10');
    await limit(tenantId, 'e2b', '3');
    await stack.admin.query(
      `DELETE FROM copilot_internal.cost_quotas WHERE tenant_id = $1 AND resource_type NOT IN ('llm', 'e2b')`,
      [tenantId],
    );
    return tenantId;
  };
  const balances = async (tenantId: string): Promise<Record<string, string[]>> =>
    Object.fromEntries(
      (await api.admin.tenants.quotas(tenantId)).quotas.map(({ scope, resourceType, spentUsd, reservedUsd }) => [
        `${scope} ${resourceType}`,
        [spentUsd, reservedUsd],
      ]),
    );
  const tool = (amountUsd: string, more: Partial<ReserveCommand> = {}) =>
    reserve(randomUUID(), amountUsd, { ...sentAs('tool'), kind: 'tool.call', ...more });

  test('is limited beside all, named by a denial, counted in the books, and told by usage and ledger', async () => {
    const tenantId = await stack.tenant('100');
    await limit(tenantId, 'geocoding', '5');
    const operationId = randomUUID();
    expect(await ask(tenantId, 'geocoding', '3', { operationId })).toMatchObject({ status: 201 });
    expect(await ask(tenantId, 'geocoding', '3')).toMatchObject({
      status: 429,
      body: {
        resourceType: 'geocoding',
        message: expect.stringContaining(
          `The geocoding quota of tenant ${tenantId} per month has $2 left of $5`,
        ) as string,
        quota: { resourceType: 'geocoding', remainingUsd: '2' },
      },
    });
    const check = { tenantId, resource: 'geocoding', estimatedUsd: '3' };
    expect(await api.call('POST', '/v1/quota-checks', { body: check })).toMatchObject({ status: 429 });
    expect(await ask(tenantId, 'search', '3')).toMatchObject({ status: 201 });
    await api.admin.commit(operationId, { tenantId, costUsd: '1.5' });
    await until('it is counted', async () => (await balances(tenantId))['tenant geocoding']?.[0] === '1.5');
    expect(await balances(tenantId)).toMatchObject({
      'tenant geocoding': ['1.5', '0'],
      'tenant all': ['1.5', '3'],
    });
    const usage = await api.admin.usage.summary({ tenantId, groupBy: 'resource' });
    expect(usage.lines).toMatchObject([{ group: 'geocoding', costUsd: '1.5' }]);
    const found = await api.call('GET', `/v1/cost-records?tenantId=${tenantId}&resource=geocoding`);
    expect(found.body.records).toMatchObject([{ operationId, resource: 'geocoding', amountUsd: '1.5' }]);
    expect(await lookAtBooks(stack.pool, tenantId)).toEqual([]);
  });

  test('is limited for users and labels too, and for all tenants together', async () => {
    const tenantId = await stack.tenant('100');
    await api.admin.tenants.setQuotas(tenantId, [
      { scope: 'user', scopeId: 'ada', resourceType: 'geocoding', limitUsd: '1' },
      { scope: 'label', scopeId: 'team:search', resourceType: 'geocoding', limitUsd: '2' },
    ]);
    const of = (scope: string) => ({ status: 429, body: { quota: { scope, resourceType: 'geocoding' } } });
    expect(await ask(tenantId, 'geocoding', '1.5', { userId: 'ada' })).toMatchObject(of('user'));
    expect(await ask(tenantId, 'geocoding', '3', { labels: { team: 'search' } })).toMatchObject(of('label'));
    expect(await ask(tenantId, 'llm', '3', { userId: 'ada', labels: { team: 'search' } })).toMatchObject({
      status: 201,
    });
    await api.admin.platform.setQuotas({ quotas: [{ resourceType: 'weather', limitUsd: '4' }] });
    const other = await stack.tenant('100');
    expect(await ask(other, 'weather', '3')).toMatchObject({ status: 201 });
    expect(await ask(tenantId, 'weather', '3')).toMatchObject({ status: 429, body: { quota: { scope: 'platform' } } });
    expect(await ask(tenantId, 'search', '3')).toMatchObject({ status: 201 });
    await api.admin.platform.removeQuota({ resourceType: 'weather', period: 'month', reason: 'a test' });
  });

  test('is refused by the guard, whatever `core` says, and has one spelling', async () => {
    const tenantId = await stack.tenant('100');
    await limit(tenantId, 'geocoding', '5');
    const grant = { reservedDeltaUsd: '6', spentDeltaUsd: '0', grant: true, enforced: true };
    const change = { ...grant, sequence: 0, resource: 'geocoding', postedAt: new Date().toISOString() };
    const changed = asTenant(stack.pool, tenantId, (client) =>
      client.query('SELECT copilot_internal.check_and_record_quota_atomic($1, $2)', [
        tenantId,
        JSON.stringify([change]),
      ]),
    );
    await expect(changed).rejects.toThrow(/quota_guard: change 0 would lift the geocoding quota of tenant/);
    for (const [resource, status] of Object.entries({ Geocoding: 400, all: 400, 'a b': 400, search: 201 }))
      expect(await ask(tenantId, resource, '1')).toMatchObject({ status });
    const named = stack.admin.query(
      `UPDATE copilot_internal.cost_quotas SET resource_type = 'A' WHERE tenant_id = $1`,
      [tenantId],
    );
    await expect(named).rejects.toThrow(/cost_quotas_resource_type_check/);
  });

  test('is one of 32 at most that the limits of a tenant name, and the command line limits and checks it', async () => {
    const tenantId = await stack.tenant('100');
    const names = (from: number, to: number) =>
      Array.from({ length: to - from }, (_, index) => ({ resourceType: `r-${from + index}`, limitUsd: '1' }));
    await api.admin.tenants.setQuotas(tenantId, names(2, 31));
    await api.admin.budget.setUserDefaults(tenantId, { quotas: [{ ...names(31, 32)[0]!, period: 'day' }] });
    const tooMany = {
      status: 400,
      code: 'invalid_request',
      message: expect.stringContaining('more than 32') as string,
    };
    await expect(api.admin.tenants.setQuotas(tenantId, names(40, 41))).rejects.toMatchObject(tooMany);
    const defaults = [{ key: 'team', ...names(41, 42)[0]!, period: 'day' as const }];
    await expect(api.admin.budget.setLabelDefaults(tenantId, { quotas: defaults })).rejects.toMatchObject(tooMany);
    await stack.admin.query(
      `INSERT INTO copilot_internal.cost_quotas (scope, scope_id, resource_type, period, limit_usd, period_start, period_end)
       SELECT 'platform', 'platform', 'r-' || n, 'month', 1000, b.period_start, b.period_end
       FROM generate_series(1, 32) AS n, copilot_internal.period_bounds('month', now()) AS b`,
    );
    const ofAll = api.admin.platform.setQuotas({ quotas: [{ resourceType: 'r-33', limitUsd: '4' }] });
    await expect(ofAll).rejects.toMatchObject(tooMany);
    await stack.admin.query(`DELETE FROM copilot_internal.cost_quotas WHERE tenant_id IS NULL`);
    // What is named already is one of them, and `all` is none.
    await api.admin.tenants.setQuotas(tenantId, [
      ...names(2, 3),
      { resourceType: 'all', limitUsd: '7', period: 'day' },
    ]);
    const set = await spendlock(
      api,
      'budget',
      'set',
      tenantId,
      '--limit',
      '2',
      '--resource',
      'r-5',
      '--period',
      'month',
    );
    expect(set.out).toMatch(/r-5/);
    const checked = await spendlock(api, 'budget', 'check', tenantId, '--resource', 'r-5', '--amount', '3');
    expect(checked.status).toBe(3);
    const wrong = await spendlock(api, 'budget', 'check', tenantId, '--resource', 'R5', '--amount', '3');
    expect(wrong).toMatchObject({ status: 2, err: expect.stringContaining('small letters') as string });
  });

  test('is not recorded in a database of the version before, where a tool is what it was', async () => {
    const older = await olderInstallation();
    const pool = createPool(older.appUrl, { max: 1 });
    try {
      const decided = await decideAndRecord(pool, {
        ...{ tenantId: 'older', timeoutMs: 3_000, enforced },
        commands: [reserve(randomUUID(), '0.01', { resource: 'geocoding' }), tool('0')],
      });
      expect(decided?.decision.answers).toMatchObject([
        { decision: 'rejected', code: 'invalid_request' },
        { decision: 'granted', grantedUsd: '0' },
      ]);
      expect(decided?.decision.reservations).toMatchObject([{ request: { resource: 'e2b' } }]);
    } finally {
      await pool.end();
      await older.drop();
    }
  });

  test('tool: a tenant that limits sandboxes alone has its tools under that, also where nobody decides and where they wait', async () => {
    const tenantId = await ofTwo();
    const decide = async (command: ReserveCommand) => {
      const recorded = await decideAndRecord(stack.pool, { tenantId, commands: [command], enforced, timeoutMs: 5_000 });
      return recorded?.decision.answers[0];
    };
    expect(await ask(tenantId, 'tool', '2')).toMatchObject({ status: 201 });
    const denied = await decide(tool('2'));
    expect(denied).toMatchObject({ decision: 'denied', quota: { resourceType: 'e2b', remainingUsd: '1' } });
    expect(
      await api.call('POST', '/v1/quota-checks', { body: { tenantId, resource: 'tool', estimatedUsd: '2' } }),
    ).toMatchObject({ status: 429, body: { quota: { resourceType: 'e2b' } } });
    if (denied?.decision !== 'denied') throw new Error('it was not denied');
    const { quota } = denied;
    const waiter = { waiterId: denied.operationId, tenantId, workflowId: 'w', neededUsd: 2n * 10n ** 12n };
    await addWaiter(stack.pool, { ...waiter, ...sentAs('tool') }, { quota });
    expect(await listWaiters(stack.pool, tenantId)).toMatchObject([{ resource: 'e2b' }]);
    const allowed = tool('2.5');
    expect(await allowUnreserved(stack.pool, { tenantId, command: allowed, enforced })).toMatchObject({
      decision: 'granted',
      unreserved: true,
    });
    expect(await allowUnreserved(stack.pool, { tenantId, command: tool('4'), enforced })).toMatchObject({
      decision: 'denied',
      quota: { resourceType: 'e2b' },
    });
    // Once there is a limit for tools they are under that, and what was asked for before is answered as before.
    await limit(tenantId, 'tool', '5');
    expect(await decide(tool('4'))).toMatchObject({ decision: 'granted' });
    expect(await allowUnreserved(stack.pool, { tenantId, command: allowed, enforced })).toMatchObject({
      decision: 'granted',
    });
    expect(await balances(tenantId)).toMatchObject({ 'tenant e2b': ['0', '2'], 'tenant tool': ['0', '4'] });
    expect(await lookAtBooks(stack.pool, tenantId)).toEqual([]);
  });

  test.each([
    [true, 'e2b'],
    [false, 'tool'],
  ])(
    'tool: what an agent pays for one, of a tenant without a limit for all (%s), is on record as %s',
    async (isOfTwo, resource) => {
      const tenantId = isOfTwo ? await ofTwo() : await stack.tenant('100');
      stack.anthropic.knobs.replies = [{ text: '', code: 'console.log(1)' }, { text: 'done' }];
      const started = await stack.start({ tenantId, tools: [{ name: 'run_code', priceUsd: '0.25' }] });
      await until('it ends', async () => (await stack.show({ tenantId, ...started })).status === 'completed', 60_000);
      const { body } = await api.call('GET', `/v1/cost-records?tenantId=${tenantId}&kind=tool.call`);
      expect(body.records).toMatchObject([{ resource, amountUsd: '0.25', settlement: 'actual' }]);
      expect(await lookAtBooks(stack.pool, tenantId)).toEqual([]);
    },
  );
});
