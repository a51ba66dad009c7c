/** Limits of what has a label: decided with the others, counted by the ledger, begun with what is on record, and mended (docs/decisions/0053). */
import { randomUUID } from 'node:crypto';
import type { StartedRun } from '../../api/runs/schemas';
import type { SpendlockClient } from '../../client';
import type { Labels } from '../../core/labels';
import { lookAtBooks, repairBooks } from '../../store/books';
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
  const ask = (tenantId: string, labels: Labels | undefined, amountUsd: string, more: object = {}) =>
    api.call('POST', '/v1/reservations', {
      body: { tenantId, operationId: randomUUID(), resource: 'llm', amountUsd, ...(labels ? { labels } : {}), ...more },
    });
  const statusOf = async (asked: ReturnType<typeof ask>): Promise<number> => (await asked).status;
  const spend = async (tenantId: string, labels: Labels, costUsd: string): Promise<string> => {
    const operationId = randomUUID();
    await api.admin.reserve({ tenantId, operationId, resource: 'llm', amountUsd: costUsd, labels });
    await api.admin.commit(operationId, { tenantId, costUsd });
    await until('it is folded', async () => {
      const { rows } = await stack.admin.query(
        'SELECT FROM copilot_internal.reservations WHERE operation_id = $1 AND outcome_folded',
        [operationId],
      );
      return rows.length === 1;
    });
    return operationId;
  };
  type Shown = Awaited<ReturnType<SpendlockClient['tenants']['quotas']>>['quotas'][number];
  const shown = async (tenantId: string, label: string): Promise<Shown | undefined> =>
    (await api.admin.tenants.quotas(tenantId, { label: [label] })).quotas.find(({ scope }) => scope === 'label');
  const balance = async (tenantId: string, label: string): Promise<(string | undefined)[]> => {
    const quota = await shown(tenantId, label);
    return [quota?.spentUsd, quota?.reservedUsd];
  };
  const agree = async (tenantId: string): Promise<void> => expect(await lookAtBooks(stack.pool, tenantId)).toEqual([]);

  test('binds what has it and nothing else, names itself when it denies, and follows what becomes of a grant', async () => {
    const tenantId = await stack.tenant('100');
    await limit(tenantId, 'team:search', '5');
    const operationId = randomUUID();
    expect(await statusOf(ask(tenantId, search, '3', { operationId }))).toBe(201);
    const denied = await ask(tenantId, { ...search, feature: 'chat' }, '3');
    expect(denied).toMatchObject({
      status: 429,
      body: {
        error: 'quota_exceeded',
        message: expect.stringContaining('The all quota of label team:search per day has $2 left of $5') as string,
        quotaDetails: {
          scope: 'label',
          scopeId: 'team:search',
          limitUsd: 5,
          estimatedCostUsd: 3,
          remainingUsd: 2,
          period: 'day',
        },
        quota: { scope: 'label', scopeId: 'team:search', remainingUsd: '2' },
      },
    });
    expect(denied.body.retryAfter).toBeGreaterThan(0);
    expect(await ask(tenantId, search, '3', { minimumUsd: '1' })).toMatchObject({
      body: { grantedUsd: '2', partial: true },
    });
    expect(await statusOf(ask(tenantId, { team: 'ads' }, '50'))).toBe(201);
    expect(await statusOf(ask(tenantId, undefined, '30'))).toBe(201);
    expect(await balance(tenantId, 'team:search')).toEqual(['0', '5']);
    await api.admin.commit(operationId, { tenantId, costUsd: '1' });
    await until('its cost is counted', async () => (await balance(tenantId, 'team:search'))[0] === '1');
    expect(await balance(tenantId, 'team:search')).toEqual(['1', '2']);
    await api.admin.budget.adjust(tenantId, { operationId, costUsd: '4', reason: 'the bill' });
    expect(await balance(tenantId, 'team:search')).toEqual(['4', '2']);
    expect(await statusOf(ask(tenantId, search, '0.5'))).toBe(429);
    await api.admin.budget.topUp(tenantId, {
      ...{ scope: 'label', scopeId: 'team:search', period: 'day', amountUsd: '3', reason: 'more' },
    });
    expect(await statusOf(ask(tenantId, search, '2'))).toBe(201);
    const check = (labels: Labels) =>
      api.call('POST', '/v1/quota-checks', { body: { tenantId, labels, estimatedUsd: '2' } });
    expect(await check(search)).toMatchObject({ status: 429, body: { quota: { scopeId: 'team:search' } } });
    expect(await check({ team: 'ads' })).toMatchObject({ status: 200 });
    // The tenant's own limit binds where it has less.
    await limit(tenantId, 'team:search', '500');
    expect(await ask(tenantId, search, '50')).toMatchObject({ status: 429, body: { quota: { scope: 'tenant' } } });
    await agree(tenantId);
  });

  test('begins with what is on record and what is held, and is forgotten when it is removed', async () => {
    const tenantId = await stack.tenant('100');
    await spend(tenantId, search, '2');
    await spend(tenantId, { team: 'ads' }, '7');
    const early = randomUUID();
    await ask(tenantId, search, '1', { operationId: early });
    await limit(tenantId, 'team:search', '4', { period: 'month' });
    expect(await balance(tenantId, 'team:search')).toEqual(['2', '1']);
    expect(await statusOf(ask(tenantId, search, '1.5'))).toBe(429);
    expect(await statusOf(ask(tenantId, search, '1'))).toBe(201);
    await agree(tenantId);
    await limit(tenantId, 'team:search', '20', { period: 'month', warningThreshold: 0.5 });
    expect(await shown(tenantId, 'team:search')).toMatchObject({
      limitUsd: '20',
      warningThreshold: 0.5,
      spentUsd: '2',
    });
    const remove = { scope: 'label', scopeId: 'team:search', period: 'month', reason: 'a test' } as const;
    expect(await api.admin.budget.removeQuota(tenantId, remove)).toMatchObject({ scope: 'label', removed: true });
    expect(await shown(tenantId, 'team:search')).toBeUndefined();
    await expect(api.admin.budget.removeQuota(tenantId, remove)).rejects.toMatchObject({ code: 'quota_missing' });
    expect(await statusOf(ask(tenantId, search, '30'))).toBe(201);
    await api.admin.commit(early, { tenantId, costUsd: '1' });
    await limit(tenantId, 'team:search', '50');
    await until('what was spent meanwhile is on it', async () => (await balance(tenantId, 'team:search'))[0] === '3');
    await agree(tenantId);
  });

  test('by default is one for each value, unless a value has its own; `other` has one for all beyond', async () => {
    const tenantId = await stack.tenant('1000');
    await spend(tenantId, search, '4');
    await limit(tenantId, 'team:ads', '50');
    const defaults = [{ key: 'team', resourceType: 'all', period: 'day', limitUsd: '5' }] as const;
    await api.admin.budget.setLabelDefaults(tenantId, { quotas: [...defaults] });
    expect(await api.admin.budget.labelDefaults(tenantId)).toEqual({
      tenantId,
      quotas: [{ ...defaults[0], warningThreshold: 0.8 }],
    });
    expect(await statusOf(ask(tenantId, search, '2'))).toBe(429);
    expect(await statusOf(ask(tenantId, search, '1'))).toBe(201);
    expect(await statusOf(ask(tenantId, { team: 'new' }, '6'))).toBe(429);
    expect(await statusOf(ask(tenantId, { team: 'new' }, '5'))).toBe(201);
    expect(await statusOf(ask(tenantId, { team: 'ads' }, '40'))).toBe(201);
    expect(await statusOf(ask(tenantId, { feature: 'new' }, '40'))).toBe(201);
    // All are bound, and each has what is left of its own.
    expect(await statusOf(ask(tenantId, { team: 'ads', feature: 'new' }, '11'))).toBe(429);
    await agree(tenantId);
    // What is its own goes, and the default is back with what was spent.
    await api.admin.budget.removeQuota(tenantId, {
      scope: 'label',
      scopeId: 'team:ads',
      period: 'day',
      reason: 'a test',
    });
    expect(await shown(tenantId, 'team:ads')).toMatchObject({ limitUsd: '5', reservedUsd: '40' });
    expect(await statusOf(ask(tenantId, { team: 'ads' }, '1'))).toBe(429);
    await stack.admin.query(
      `INSERT INTO copilot_internal.label_values SELECT $1, 'team', 't-' || n FROM generate_series(1, 1000) AS n`,
      [tenantId],
    );
    const [one, two] = [{ team: 'late-1' }, { team: 'late-2' }];
    await spend(tenantId, one, '3');
    const denied = await ask(tenantId, two, '3');
    expect(denied).toMatchObject({ status: 429, body: { quota: { scopeId: 'team:other', spentUsd: '3' } } });
    expect(await statusOf(ask(tenantId, two, '2'))).toBe(201);
    expect(await balance(tenantId, 'team:late-2')).toEqual(['3', '2']);
    await expect(limit(tenantId, 'team:late-1', '9')).rejects.toMatchObject({ code: 'invalid_request' });
    for (const none of ['team', 'team:', 'Team:search', ':search', 'team:x'.padEnd(100, 'x')])
      await expect(limit(tenantId, none, '9')).rejects.toMatchObject({ code: 'invalid_request' });
    await limit(tenantId, 'team:other', '9');
    expect(await statusOf(ask(tenantId, one, '4'))).toBe(201);
    expect(await statusOf(ask(tenantId, one, '1'))).toBe(429);
    await agree(tenantId);
    await api.admin.budget.setLabelDefaults(tenantId, { quotas: [] });
    expect(await statusOf(ask(tenantId, { team: 'new' }, '50'))).toBe(201);
    expect(await statusOf(ask(tenantId, one, '1'))).toBe(429);
    await agree(tenantId);
  });

  test('is begun exactly while others spend', async () => {
    const tenantId = await stack.tenant('1000');
    let goesOn = true;
    const load = Promise.all(
      Array.from({ length: 4 }, async (_, index) => {
        for (let n = 0; goesOn; n += 1)
          await spend(tenantId, { team: `t-${(index + n) % 3}`, feature: 'chat' }, '0.01');
      }),
    );
    try {
      for (let round = 0; round < 4; round += 1) {
        await limit(tenantId, `team:t-${round % 3}`, '500', { period: (['day', 'month'] as const)[round % 2] });
        await api.admin.budget.setLabelDefaults(tenantId, {
          quotas:
            round % 2
              ? []
              : [
                  { key: 'team', period: 'week', limitUsd: '300' },
                  { key: 'feature', limitUsd: '300' },
                ],
        });
      }
      await api.admin.budget.setLabelDefaults(tenantId, {
        quotas: [{ key: 'team', period: 'month', limitUsd: '300' }],
      });
    } finally {
      goesOn = false;
      await load;
    }
    expect(await shown(tenantId, 'team:t-2')).toBeDefined();
    await agree(tenantId);
  });

  test('warns, and says once that it refused', async () => {
    const tenantId = await stack.tenant('100');
    await limit(tenantId, 'team:search', '10', { warningThreshold: 0.5 });
    await spend(tenantId, search, '6');
    for (const amount of ['5', '5']) expect(await statusOf(ask(tenantId, search, amount))).toBe(429);
    const { rows } = await stack.admin.query(
      `SELECT kind, details ->> 'scopeId' AS of FROM copilot_internal.quota_alerts WHERE tenant_id = $1 ORDER BY kind`,
      [tenantId],
    );
    expect(rows).toEqual([
      { kind: 'quota_exceeded', of: 'team:search' },
      { kind: 'quota_warning', of: 'team:search' },
    ]);
  });

  test('is waited for: one whose label has money is woken, one whose label has none waits on', async () => {
    const tenantId = await stack.tenant('100');
    for (const scopeId of ['team:search', 'team:ads']) await limit(tenantId, scopeId, '0.0001');
    const [first, second] = await Promise.all(
      ['ads', 'search'].map((team) => stack.start({ tenantId, onDenied: 'wait', labels: { team } })),
    );
    const statusOf = async (started = first): Promise<string> =>
      (await stack.show({ tenantId, ...(started as StartedRun) })).status;
    await until('both wait', async () => {
      const statuses = await Promise.all([statusOf(first), statusOf(second)]);
      return statuses.every((status) => status === 'waiting_for_money');
    });
    await limit(tenantId, 'team:search', '5');
    expect((await stack.finish({ tenantId, ...(second as StartedRun) })).status).toBe('completed');
    expect(await statusOf(first)).toBe('waiting_for_money');
    await limit(tenantId, 'team:ads', '5');
    expect((await stack.finish({ tenantId, ...(first as StartedRun) })).status).toBe('completed');
    await agree(tenantId);
  });

  test('begins each period anew, for open reservations and for what is corrected later', async () => {
    const tenantId = await stack.tenant('100');
    await limit(tenantId, 'team:search', '10');
    const spent = await spend(tenantId, search, '6');
    const open = randomUUID();
    await ask(tenantId, search, '3', { operationId: open });
    for (const [table, columns] of [
      ['cost_quotas', ['period_start', 'period_end']],
      ['cost_records', ['posted_at']],
    ] as const)
      await stack.admin.query(
        `UPDATE copilot_internal.${table} SET ${columns.map((column) => `${column} = ${column} - interval '1 day'`).join(', ')}
         WHERE tenant_id = $1 AND ${table === 'cost_quotas' ? `period = 'day'` : 'true'}`,
        [tenantId],
      );
    await stack.admin.query(
      `UPDATE copilot_internal.reservations SET posted_at = posted_at - interval '1 day' WHERE tenant_id = $1`,
      [tenantId],
    );
    expect(await balance(tenantId, 'team:search')).toEqual(['0', '3']);
    await api.admin.budget.adjust(tenantId, { operationId: spent, costUsd: '9', reason: 'the bill' });
    expect(await statusOf(ask(tenantId, search, '8'))).toBe(429);
    expect(await statusOf(ask(tenantId, search, '7'))).toBe(201);
    expect(await balance(tenantId, 'team:search')).toEqual(['0', '10']);
    expect((await lookAtBooks(stack.pool, tenantId)).filter(({ check }) => check === 'balance')).toEqual([]);
  });

  test('broken by hand is told and mended', async () => {
    const tenantId = await stack.tenant('100');
    await limit(tenantId, 'team:search', '10');
    await spend(tenantId, search, '2');
    await ask(tenantId, search, '1');
    await stack.admin.query(
      `UPDATE copilot_internal.cost_quotas SET current_spend_usd = 1, reserved_usd = 5 WHERE tenant_id = $1 AND scope = 'label'`,
      [tenantId],
    );
    expect(await lookAtBooks(stack.pool, tenantId)).toEqual([
      {
        check: 'balance',
        name: 'label team:search all day',
        says: 'spent $1 and the ledger $2; reserved $5 and open reservations $1',
      },
    ]);
    const mended = await repairBooks(stack.pool, { tenantId, by: { author: 'a test' }, reason: 'a test', apply: true });
    expect(mended).toMatchObject([{ what: 'balance', name: 'label team:search all day' }]);
    await agree(tenantId);
  });

  test('is refused by the guard, whatever `core` says, and counts what a process of the version before grants', async () => {
    const tenantId = await stack.tenant('100');
    await limit(tenantId, 'team:search', '5');
    const run = async (knows: boolean, labels: Labels): Promise<unknown> => {
      const client = await stack.pool.connect();
      const operationId = randomUUID();
      const now = new Date().toISOString();
      try {
        await client.query('BEGIN');
        if (knows) await client.query(`SET LOCAL spendlock.label_quotas = 'on'`);
        const loaded = await client.query<{ state: { quotas: { scope: string }[] } }>(
          'SELECT copilot_internal.load_budget_batch($1, $2, $3, 10) AS state',
          [tenantId, [operationId], []],
        );
        expect(loaded.rows[0]?.state.quotas.map(({ scope }) => scope)).not.toContain('label');
        const grant = { reservedDeltaUsd: '6', spentDeltaUsd: '0', postedAt: now, grant: true, enforced: true };
        await client.query('SELECT copilot_internal.record_budget_batch($1, $2)', [
          tenantId,
          JSON.stringify({
            ...{ countsRuns: true, keepsLabels: true, ledger: [], alerts: [], served: [] },
            ...(knows ? { knowsLabelQuotas: true } : {}),
            changes: [{ ...grant, sequence: 0, operationId, resource: 'llm' }],
            reservations: [
              {
                ...{ operationId, resource: 'llm', requestedUsd: '6', grantedUsd: '6', status: 'granted', labels },
                ...{ decidedAt: now, expiresAt: new Date(Date.now() + 60_000).toISOString(), outcomeFolded: false },
              },
            ],
          }),
        ]);
        const { rows } = await client.query(`SELECT FROM copilot_internal.cost_quotas WHERE scope = 'label'`);
        expect(rows).toHaveLength(knows ? 1 : 0);
        await client.query('COMMIT');
        return undefined;
      } catch (error) {
        await client.query('ROLLBACK');
        return (error as Error).message;
      } finally {
        client.release();
      }
    };
    expect(await run(true, search)).toMatch(
      /quota_guard: a grant would lift the all quota of label team:search to 6\.0* USD, above its limit of 5\.0* USD/,
    );
    expect(await run(true, { team: 'ads' })).toBeUndefined();
    expect(await run(false, search)).toBeUndefined();
    expect(await balance(tenantId, 'team:search')).toEqual(['0', '6']);
    expect(await statusOf(ask(tenantId, search, '0.1'))).toBe(429);
    await agree(tenantId);
  });

  test('is set, shown and taken away from the command line', async () => {
    const tenantId = await stack.tenant('100');
    const run = async (...args: string[]): Promise<string> => (await spendlock(api, ...args)).out;
    const set = await run('budget', 'set', tenantId, '--label', 'team=search', '--period', 'day', '--limit', '500');
    expect(set).toMatch(/label team:search.*500/);
    expect(set).toContain(
      'Mind: the all quota of label team:search per day allows 500 USD, and the all quota of the tenant per month',
    );
    expect(await run('budget', 'show', tenantId, '--label', 'team=search')).toMatch(/label team:search/);
    expect(
      await run('budget', 'topup', tenantId, '1', '--label', 'team=search', '--period', 'day', '--reason', 'more'),
    ).toMatch(/quota of team:search of/);
    expect(await run('budget', 'label-defaults', 'set', tenantId, 'team:llm/day=2')).toMatch(/team.*llm.*day.*2/);
    expect(await run('budget', 'label-defaults', 'show', tenantId)).toMatch(/team.*llm.*day.*2/);
    expect(await run('budget', 'label-defaults', 'set', tenantId, '--none')).toMatch(/None/);
    await run('budget', 'remove', tenantId, '--label', 'team=search', '--period', 'day', '--reason', 'enough');
    expect(await run('budget', 'show', tenantId)).not.toMatch(/label/);
  });
});
