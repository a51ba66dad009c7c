/** What other limits would have done (docs/decisions/0062): the record of a tenant is reproduced, and played by limits that were not there. */
import { randomUUID } from 'node:crypto';
import { decideAndRecord } from '../../store/budget-batch';
import { reserve, commit, release } from '../support/budget-model';
import { startTestApi, type TestApi } from '../support/api';
import { TestStack, until } from '../support/stack';
import { inHours } from '../support/top-ups';

const enforced = { llm: true, e2b: true };

interface Row {
  status: string;
  grantedUsd: string | null;
}

describe('what other limits would have done', () => {
  let stack: TestStack;
  let api: TestApi;
  beforeAll(async () => {
    stack = await TestStack.start();
    api = await startTestApi(stack);
  });
  afterAll(async () => {
    await api.close();
    await stack.stop();
  });

  const decide = (tenantId: string, commands: Parameters<typeof decideAndRecord>[1]['commands'], bind = enforced) =>
    decideAndRecord(stack.pool, { tenantId, commands, enforced: bind, timeoutMs: 10_000 });
  const whatIf = async (tenantId: string, body: object = {}) => {
    const answer = await api.call('POST', `/v1/tenants/${tenantId}/what-if`, { body });
    expect(answer).toMatchObject({ status: 200 });
    return answer.body as unknown as Awaited<ReturnType<TestApi['admin']['usage']['whatIf']>>;
  };
  const finish = async (tenantId: string, operationId: string, costUsd: string): Promise<void> => {
    await api.admin.commit(operationId, { tenantId, costUsd });
    await until('its cost is folded', async () => {
      const { rows } = await stack.admin.query<{ isFolded: boolean }>(
        'SELECT outcome_folded AS "isFolded" FROM copilot_internal.reservations WHERE operation_id = $1',
        [operationId],
      );
      return rows[0]?.isFolded;
    });
  };

  test('each answer of many who race is reproduced: with limits set, topped up and removed, users, labels, shares and late costs', async () => {
    const tenantId = await stack.tenant('30', { userLimitUsd: '8' });
    await api.admin.tenants.setQuotas(tenantId, [
      { scope: 'label', scopeId: 'team:search', resourceType: 'all', period: 'day', limitUsd: '6' },
    ]);
    const payers = [{}, { userId: 'ada' }, { userId: 'bob', labels: { team: 'search' } }, { labels: { team: 'ads' } }];
    const one = async (n: number): Promise<void> => {
      const ids = [randomUUID(), randomUUID(), randomUUID()] as const;
      const [first, second, third] = ids;
      const more = { ...payers[n % payers.length], ttlSeconds: 600 };
      await decide(tenantId, [
        reserve(first, String(1 + (n % 3)), more),
        reserve(second, '9', { ...more, minimumUsd: '0.01' }),
        ...(n % 2 === 0 ? [release(second)] : []),
        reserve(third, '5', { ...more, ...(n % 3 === 0 ? { prefersWhole: true, minimumUsd: '1' } : {}) }),
      ]);
      if (n % 4 === 0) await decide(tenantId, [release(first), commit(third)]);
      if (n % 4 === 1) {
        await stack.admin.query(
          `UPDATE copilot_internal.reservations SET claimed_at = now() WHERE operation_id = $1 AND status = 'granted'`,
          [first],
        );
        await decide(tenantId, [commit(first)]);
      }
      if (n === 6) await api.admin.budget.topUp(tenantId, { amountUsd: '7', expiresAt: inHours(1), reason: 'a test' });
      if (n === 12)
        await api.admin.tenants.setQuotas(tenantId, [{ resourceType: 'all', period: 'month', limitUsd: '45' }]);
      if (n === 16)
        await api.admin.budget.removeQuota(tenantId, {
          scope: 'label',
          scopeId: 'team:search',
          period: 'day',
          resourceType: 'all',
          reason: 'a test',
        });
    };
    for (let n = 0; n < 24; n += 6) await Promise.all([0, 1, 2, 3, 4, 5].map((at) => one(n + at)));
    const charged = await stack.admin.query<{ id: string }>(
      `SELECT operation_id AS id FROM copilot_internal.reservations WHERE tenant_id = $1 AND settlement = 'unverified' LIMIT 1`,
      [tenantId],
    );
    await api.admin.budget.adjust(tenantId, {
      operationId: charged.rows[0]?.id ?? '',
      costUsd: '0.25',
      reason: 'the bill',
    });
    const rows = await stack.admin.query<Row>(
      `SELECT status, granted_usd::text AS "grantedUsd" FROM copilot_internal.reservations WHERE tenant_id = $1`,
      [tenantId],
    );
    expect(rows.rows.filter(({ status }) => status === 'denied').length).toBeGreaterThan(10);
    const played = await whatIf(tenantId);
    expect(played.record).toEqual({ played: 72, reproduced: 72, unlike: [], notReplayed: [] });
    expect(played).toMatchObject({ denied: 0, shrunk: 0, raised: 0, first: [], limits: [] });
    expect(played.costs.recordedUsd).toBe(played.costs.wouldBeUsd);

    // From the middle on: what was spent and held by then is carried over.
    const { rows: middle } = await stack.admin.query<{ at: Date }>(
      `SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY decided_at) AS at FROM copilot_internal.reservations WHERE tenant_id = $1`,
      [tenantId],
    );
    const later = await whatIf(tenantId, { from: middle[0]?.at.toISOString() });
    expect(later.record.unlike).toEqual([]);
    expect(later.record.reproduced).toBe(later.record.played);
    expect(later.record.played).toBeGreaterThan(10);
    expect(later.record.played).toBeLessThan(72);
  });

  test('a lower limit refuses what it has no room for, by limit and by day, and a limit of a user is tried beside the others', async () => {
    const tenantId = await stack.tenant('100');
    const ids = Array.from({ length: 12 }, () => randomUUID());
    for (const id of ids) {
      await decide(tenantId, [reserve(id, '2', { userId: 'ada', ttlSeconds: 600 })]);
      await finish(tenantId, id, '1.5');
    }
    const tried = await whatIf(tenantId, { limits: [{ resourceType: 'all', period: 'day', limitUsd: '6' }] });
    // 1.5 each, and 2 have to be there: three fit.
    expect(tried).toMatchObject({
      record: { played: 12, reproduced: 12 },
      denied: 9,
      deniedUsd: '18',
      costs: { recordedUsd: '18', wouldBeUsd: '4.5' },
      byLimit: [{ denied: 9, limit: { scope: 'tenant', period: 'day', limitUsd: '6' } }],
      byDay: [{ day: new Date().toISOString().slice(0, 10), denied: 9 }],
    });
    expect(tried.first.map(({ operationId }) => operationId)).toEqual(ids.slice(3));
    const ofUser = { scope: 'user', scopeId: 'ada', resourceType: 'all', period: 'month', limitUsd: '10' };
    expect(await whatIf(tenantId, { limits: [ofUser] })).toMatchObject({ denied: 6, byLimit: [{ limit: ofUser }] });
    expect(await whatIf(tenantId, { limits: [{ ...ofUser, scopeId: 'bob' }] })).toMatchObject({ denied: 0 });
    // What was refused and would be granted is taken to cost its grant.
    await decide(tenantId, [reserve(randomUUID(), '90', { userId: 'ada' })]);
    const raised = await whatIf(tenantId, {
      limits: ['all', 'llm', 'e2b'].map((resourceType) => ({ resourceType, limitUsd: '200' })),
    });
    expect(raised).toMatchObject({ raised: 1, raisedUsd: '90', costs: { wouldBeUsd: '108' } });
  });

  test('what limits did not decide is counted by its name', async () => {
    const tenantId = await stack.tenant('10');
    await decide(tenantId, [reserve(randomUUID(), '50')], { llm: false, e2b: false });
    await api.admin.budget.freeze(tenantId, { reason: 'a test' });
    await decide(tenantId, [reserve(randomUUID(), '1')]);
    await api.admin.budget.unfreeze(tenantId, { reason: 'a test' });
    await decide(tenantId, [reserve(randomUUID(), '1')]);
    await stack.admin.query(
      `UPDATE copilot_internal.reservations SET decided_no = NULL WHERE tenant_id = $1 AND status = 'denied'`,
      [tenantId],
    );
    const { record } = await whatIf(tenantId);
    expect(record.played).toBe(0);
    expect(record.notReplayed.map(({ why, requests }) => [why, requests]).sort()).toEqual([
      ['decided before the order was recorded', 1],
      ['frozen', 1],
      ['limits did not bind', 1],
    ]);
  });

  test('an order that was recorded wrongly is told', async () => {
    const tenantId = await stack.tenant('3');
    const [first, second] = [randomUUID(), randomUUID()];
    await decide(tenantId, [reserve(first, '2'), reserve(second, '2')]);
    expect((await whatIf(tenantId)).record).toMatchObject({ played: 2, reproduced: 2 });
    await stack.admin.query(
      `UPDATE copilot_internal.reservations SET decided_no = decided_no + CASE status WHEN 'granted' THEN 5 ELSE 0 END
       WHERE tenant_id = $1`,
      [tenantId],
    );
    const { record } = await whatIf(tenantId);
    expect(record).toMatchObject({
      played: 2,
      reproduced: 0,
      unlike: [{ operationId: second }, { operationId: first }],
    });
  });
});
