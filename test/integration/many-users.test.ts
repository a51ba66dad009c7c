/** A tenant whose application names very many users, each with quotas of its own: what concerns one of them reads no others. */
import { randomUUID } from 'node:crypto';
import { decideAndRecord } from '../../store/budget-batch';
import { createPool, type Pool } from '../../store/pool';
import { startTestApi, type TestApi } from '../support/api';
import { reserve as asked } from '../support/budget-model';
import { TestStack } from '../support/stack';

const users = 50_000;

async function decide(pool: Pool, tenantId: string): Promise<void> {
  const command = asked(randomUUID(), '0.001', { userId: 'ada', labels: { team: 'x-1' } });
  const enforced = { llm: true, e2b: true };
  const recorded = await decideAndRecord(pool, { tenantId, commands: [command], enforced, timeoutMs: 5_000 });
  expect(recorded?.decision.answers).toMatchObject([{ decision: 'granted' }]);
}

/** The blocks that a whole decision reads, once it was planned. */
async function blocksOfDecision(pool: Pool, tenantId: string): Promise<number> {
  // Of this connection alone: what others read is counted late.
  const blocks = async (): Promise<number> => {
    await pool.query('SELECT pg_stat_force_next_flush()');
    const { rows } = await pool.query<{ blocks: string }>(
      'SELECT sum(reads + hits) AS blocks FROM pg_stat_get_backend_io(pg_backend_pid())',
    );
    return Number(rows[0]?.blocks);
  };
  for (let turn = 0; turn < 10; turn += 1) await decide(pool, tenantId);
  const before = await blocks();
  await decide(pool, tenantId);
  return (await blocks()) - before;
}

/** How long a decision of each tenant takes, in milliseconds: the medians of so many, in turns. */
async function timesOfDecisions(pool: Pool, tenantIds: readonly string[], turns: number): Promise<number[]> {
  const times = tenantIds.map((): number[] => []);
  for (let turn = 0; turn < turns; turn += 1)
    for (const [index, tenantId] of tenantIds.entries()) {
      const startedMs = performance.now();
      await decide(pool, tenantId);
      times[index]?.push(performance.now() - startedMs);
    }
  return times.map((of) => of.sort((a, b) => a - b)[turns >> 1] as number);
}

describe('a tenant of very many users', () => {
  let stack: TestStack;
  let api: TestApi;
  let tenantId: string;

  beforeAll(async () => {
    stack = await TestStack.start();
    api = await startTestApi(stack);
    tenantId = await stack.tenant('10');
    // Three quotas each, of a period that has ended; its last decision was in it.
    await stack.admin.query(
      `INSERT INTO copilot_internal.cost_quotas (tenant_id, scope, scope_id, resource_type, period, limit_usd, current_spend_usd,
         period_start, period_end)
       SELECT $1, 'user', 'user-' || n, resource, 'month', 5, 3, b.period_start, b.period_end
       FROM generate_series(1, ${users}) AS n, unnest(ARRAY['llm', 'e2b', 'all']) AS resource,
            copilot_internal.period_bounds('month', now() - interval '35 days') AS b`,
      [tenantId],
    );
    await stack.admin.query('ANALYZE copilot_internal.cost_quotas');
  });
  afterAll(async () => {
    await api.close();
    await stack.stop();
  });

  const reserve = (userId: string, amountUsd: string, of = tenantId): Promise<Response> =>
    api.request('/v1/reservations', {
      method: 'POST',
      body: { operationId: randomUUID(), tenantId: of, userId, resource: 'llm', amountUsd },
    });
  const show = async (query = ''): Promise<{ quotas: Record<string, string>[]; moreUserQuotas: number }> => {
    const answer = await api.request(`/v1/tenants/${tenantId}/quotas${query}`);
    expect(answer.status).toBe(200);
    return (await answer.json()) as never;
  };

  test('is decided for when the period of all of them has ended, and each begins its own anew', async () => {
    expect((await reserve('user-7', '4')).status).toBe(201);
    expect((await reserve('user-7', '4')).status).toBe(429);
    const { rows } = await stack.admin.query<{ scope_id: string; reserved_usd: string; current_spend_usd: string }>(
      `SELECT scope_id, trim_scale(reserved_usd)::text AS reserved_usd, trim_scale(current_spend_usd)::text AS current_spend_usd
       FROM copilot_internal.cost_quotas
       WHERE tenant_id = $1 AND scope = 'user' AND resource_type = 'all' AND scope_id IN ('user-7', 'user-8') ORDER BY scope_id`,
      [tenantId],
    );
    expect(rows).toEqual([
      { scope_id: 'user-7', reserved_usd: '4', current_spend_usd: '0' },
      // Nobody asked for it yet. Whoever looks sees it as its next decision will find it.
      { scope_id: 'user-8', reserved_usd: '0', current_spend_usd: '3' },
    ]);
    expect((await show('?userId=user-8')).quotas).toContainEqual(
      expect.objectContaining({ scope: 'user', scopeId: 'user-8', resourceType: 'all', spentUsd: '0' }),
    );
  });

  test('a look at its quotas shows the first of them and how many there are more, or those of one user', async () => {
    const all = await show();
    expect(all.quotas).toHaveLength(500);
    expect(all.quotas.filter(({ scope }) => scope === 'tenant').length).toBeGreaterThan(0);
    expect(all.moreUserQuotas).toBe(3 * users - all.quotas.filter(({ scope }) => scope === 'user').length);

    const one = await show('?userId=user-49999');
    expect(new Set(one.quotas.map(({ scopeId }) => scopeId))).toEqual(new Set([tenantId, 'user-49999']));
    expect(one.moreUserQuotas).toBe(0);
  });

  test('the gate reads those of the payer alone', async () => {
    const check = await api.request('/v1/quota-checks', {
      method: 'POST',
      body: { tenantId, userId: 'user-12', resource: 'llm', estimatedUsd: '1' },
    });
    const { quotas } = (await check.json()) as { quotas: { scopeId: string }[] };
    expect({ status: check.status, of: new Set(quotas.map(({ scopeId }) => scopeId)) }).toEqual({
      status: 200,
      of: new Set([tenantId, 'user-12']),
    });
  });

  test('a decision reads and takes as much as that of a tenant with three limits, whose labels are limited too', async () => {
    const [few, many] = [
      await stack.tenant('10', { userLimitUsd: '5' }),
      await stack.tenant('10', { userLimitUsd: '5' }),
    ];
    for (const [of, values] of [
      [few, 1],
      [many, 5_000],
    ] as const) {
      const limits = `SELECT $1, $2, 'x-' || n, 'all', 'month', 5, b.period_start, b.period_end
         FROM generate_series(1, $3) AS n, copilot_internal.period_bounds('month', now()) AS b`;
      for (const [scope, id] of [
        ['user', 'x-'],
        ['label', 'team:x-'],
        ['shadow_user', 'x-'],
        ['shadow_label', 'team:x-'],
      ])
        await stack.admin.query(
          `INSERT INTO copilot_internal.cost_quotas (tenant_id, scope, scope_id, resource_type, period, limit_usd, period_start, period_end)
           ${limits.replace("'x-'", `'${id}'`)}`,
          [of, scope, values],
        );
      await stack.admin.query(
        `INSERT INTO copilot_internal.label_values SELECT $1, 'team', 'x-' || n FROM generate_series(1, $2::integer) AS n`,
        [of, values],
      );
    }
    // All tenants together are limited too, so that each has a lease.
    await api.request('/v1/platform/quotas', {
      method: 'PUT',
      body: { quotas: [{ resourceType: 'all', limitUsd: '1000000' }] },
    });
    // What its authority draws for it is enough for what follows.
    for (const paying of [few, many]) expect((await reserve('ada', '1', paying)).status).toBe(201);
    // As autovacuum would leave them, after what the tests before wrote.
    await stack.admin.query('VACUUM ANALYZE copilot_internal.cost_quotas, copilot_internal.label_values');
    // One connection, whose plans are made for any tenant from their sixth use on.
    const pool = createPool(stack.database.appUrl, { max: 1 });
    try {
      const [ofFew, ofMany] = [await blocksOfDecision(pool, few), await blocksOfDecision(pool, many)];
      process.stdout.write(`a decision reads ${ofFew} blocks beside three limits, ${ofMany} beside 10,000\n`);
      expect(ofFew).toBeGreaterThan(20);
      expect(ofMany).toBeLessThanOrEqual(ofFew * 1.3);
      const [msOfFew = 0, msOfMany = 0] = await timesOfDecisions(pool, [few, many], 300);
      const share = msOfMany / msOfFew;
      process.stdout.write(`and takes ${msOfMany.toFixed(1)} ms beside 10,000, ${share.toFixed(2)} of beside three\n`);
      expect(share).toBeLessThanOrEqual(1.3);
    } finally {
      await pool.end();
    }
  });

  test('its overview is as small as that of another tenant', async () => {
    const answer = await api.request(`/v1/tenants/${tenantId}/overview`);
    expect(answer.status).toBe(200);
    expect((await answer.text()).length).toBeLessThan(300_000);
  });
});
