/** What other limits would have done (docs/decisions/0062): the record of a tenant is reproduced, and played by limits that were not there. */
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { WhatIfView } from '../../client';
import { parseUsd } from '../../core/money';
import { decideAndRecord } from '../../store/budget-batch';
import { asTenant } from '../../store/pool';
import { spendlock } from '../support/cli';
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
  const folder = mkdtempSync(path.join(tmpdir(), 'spendlock-what-if-'));
  afterAll(async () => {
    rmSync(folder, { recursive: true });
    await api.close();
    await stack.stop();
  });

  const decide = (tenantId: string, commands: Parameters<typeof decideAndRecord>[1]['commands'], bind = enforced) =>
    decideAndRecord(stack.pool, { tenantId, commands, enforced: bind, timeoutMs: 10_000 });
  const whatIf = async (tenantId: string, body: object = {}) => {
    const answer = await api.call('POST', `/v1/tenants/${tenantId}/what-if`, { body });
    expect(answer).toMatchObject({ status: 200 });
    return answer.body as unknown as WhatIfView;
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
    // One whose call is claimed comes alone: who races for it may be denied it, and the correction below needs its cost.
    await one(1);
    for (let n = 0; n < 24; n += 6)
      await Promise.all([0, 1, 2, 3, 4, 5].filter((at) => n + at !== 1).map((at) => one(n + at)));
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

  test('what a process of the version before decides counts, and is not replayed', async () => {
    const tenantId = await stack.tenant('10');
    const [operationId, at] = [randomUUID(), new Date().toISOString()];
    const row = { operationId, resource: 'llm', kind: 'k', priceVersion: 'v', requestedUsd: '8', grantedUsd: '8' };
    const change = { sequence: 0, operationId, resource: 'llm', reservedDeltaUsd: '8', spentDeltaUsd: '0' };
    await asTenant(stack.pool, tenantId, async (client) => {
      await client.query('SELECT copilot_internal.load_budget_batch($1, $2, $3, 0)', [tenantId, [operationId], []]);
      const batch = {
        reservations: [{ ...row, status: 'granted', decidedAt: at, expiresAt: inHours(1), outcomeFolded: false }],
        changes: [{ ...change, postedAt: at, grant: true, enforced: true }],
        ...{ ledger: [], alerts: [], countsRuns: true, keepsLabels: true, knowsLabelQuotas: true },
      };
      await client.query('SELECT copilot_internal.record_budget_batch($1, $2)', [tenantId, JSON.stringify(batch)]);
    });
    await decide(tenantId, [reserve(randomUUID(), '1')]);
    await decide(tenantId, [reserve(randomUUID(), '3')]);
    await decide(tenantId, [release(operationId)]);
    await decide(tenantId, [reserve(randomUUID(), '9')]);
    expect((await whatIf(tenantId)).record).toEqual({
      ...{ played: 3, reproduced: 3, unlike: [] },
      notReplayed: [{ why: 'decided by an older version', requests: 1 }],
    });
  });

  test('what the platform had too little for is told apart, and what it shrank is reproduced', async () => {
    const tenantId = await stack.tenant('100');
    await api.admin.platform.setQuotas({ quotas: [{ resourceType: 'geocoding', limitUsd: '6' }] });
    try {
      const ask = (amountUsd: string, more: object = {}) =>
        api.call('POST', '/v1/reservations', {
          body: { tenantId, operationId: randomUUID(), resource: 'geocoding', amountUsd, ...more },
        });
      expect(await ask('4')).toMatchObject({ status: 201 });
      expect(await ask('5')).toMatchObject({ status: 429 });
      expect(await ask('5', { minimumUsd: '1' })).toMatchObject({ status: 201, body: { grantedUsd: '2' } });
      const { record } = await whatIf(tenantId);
      expect(record).toEqual({
        ...{ played: 2, reproduced: 2, unlike: [] },
        notReplayed: [{ why: 'refused by a limit of the platform', requests: 1 }],
      });
    } finally {
      await api.admin.platform.removeQuota({ resourceType: 'geocoding', reason: 'a test' });
    }
  });

  test('the command says all of it in words, also what the span would have cost by the prices of a file', async () => {
    const tenantId = await stack.tenant('10');
    const run = await stack.run({ tenantId, task: 'Say hello.', userId: 'ada' });
    expect(run.status).toBe('completed');
    const file = path.join(folder, 'prices.json');
    const { prices } = await api.admin.prices.list();
    const { rows } = await stack.admin.query<{ model: string }>(
      'SELECT DISTINCT model FROM copilot_internal.cost_records WHERE tenant_id = $1',
      [tenantId],
    );
    const [model = ''] = rows.map((row) => row.model);
    const rates = prices.find((price) => price.model === model);
    const perToken = (usd = '0', times = 1): number => (Number(usd) * times) / 1_000_000;
    const entry = (times: number) => ({
      [model]: {
        ...{ litellm_provider: 'anthropic', mode: 'chat' },
        input_cost_per_token: perToken(rates?.inputUsd, times),
        output_cost_per_token: perToken(rates?.outputUsd, times),
      },
    });
    writeFileSync(file, JSON.stringify(entry(2)));
    const said = await spendlock(
      api,
      'what-if',
      tenantId,
      '--limit',
      '0.000001',
      '--limit',
      'user:ada/day=5',
      '--prices',
      file,
    );
    expect(said.out).toMatch(/Reproduced: every recorded answer, (\d+) of \1[.]/);
    expect(said.out).toMatch(/would have been refused/);
    expect(said.out).toContain(`tenant all per month ($0.000001)`);
    expect(said.out).toMatch(/By these prices the span would have cost [$]/);
    const { out } = await spendlock(api, 'what-if', tenantId, '--prices', file, '--json');
    const answer = JSON.parse(out) as WhatIfView;
    expect(answer.prices?.byModel).toMatchObject([{ model }]);
    const [of] = answer.prices?.byModel ?? [];
    expect(parseUsd(of?.wouldCostUsd ?? '')).toBe(2n * parseUsd(of?.recordedUsd ?? ''));
    expect((await spendlock(api, 'what-if', tenantId, '--limit', 'hour=5')).status).toBe(2);
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
    // It goes on by what is on record: nothing was held when the first was asked for, and only one of them fits.
    expect(record).toMatchObject({ played: 2, reproduced: 1, unlike: [{ operationId: second }] });
  });
});
