/** What the record of a tenant cannot be taken for: steps that ask again, nothing that was played, labels counted together, days and long spans. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { WhatIfView } from '../../client';
import { parseUsd } from '../../core/money';
import { Replay } from '../../core/budget/what-if-result';
import { dateRecord, passDays } from '../../scripts/chaos/days';
import { Chance } from '../../scripts/chaos/random';
import { decideAndRecord } from '../../store/budget-batch';
import { recordOutcomes } from '../../store/outcomes';
import { inTransaction, isTooSlow } from '../../store/pool';
import { readUsedCalls } from '../../store/used-calls';
import { playRecord } from '../../store/what-if';
import { startTestApi, type TestApi } from '../support/api';
import { commit, release, reserve } from '../support/budget-model';
import { spendlock } from '../support/cli';
import { TestStack } from '../support/stack';

describe('what a record tells of other limits', () => {
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

  const decide = (tenantId: string, commands: Parameters<typeof decideAndRecord>[1]['commands']) =>
    decideAndRecord(stack.pool, { tenantId, commands, enforced: { llm: true, e2b: true }, timeoutMs: 10_000 });
  const whatIf = async (tenantId: string, body: object = {}) => {
    const answer = await api.call('POST', `/v1/tenants/${tenantId}/what-if`, { body });
    expect(answer).toMatchObject({ status: 200 });
    return answer.body as unknown as WhatIfView;
  };

  test('what was kept from a label is counted as the limit of all other values counts it', async () => {
    const tenantId = await stack.tenant('100');
    const ofOther = { scope: 'label', scopeId: 'team:other', resourceType: 'all', period: 'day', limitUsd: '6' };
    await api.admin.tenants.setQuotas(tenantId, [ofOther] as Parameters<typeof api.admin.tenants.setQuotas>[1]);
    const operationId = randomUUID();
    await decide(tenantId, [reserve(operationId, '9', { labels: { team: 'ads' } })]);
    // As it is where the value is none of those that are told apart, and of the limit's 6 there were 4 kept for others.
    await stack.admin.query('DELETE FROM copilot_internal.label_values WHERE tenant_id = $1', [tenantId]);
    const kept = [{ resource: 'llm', labels: { team: 'ads' }, keptUsd: '4' }];
    await stack.admin.query(
      `UPDATE copilot_internal.reservations SET minimum_usd = 1, granted_usd = 2, decided_with = $2 WHERE operation_id = $1`,
      [operationId, JSON.stringify({ kept })],
    );
    expect((await whatIf(tenantId)).record).toMatchObject({ played: 1, reproduced: 1, unlike: [] });
  });

  test('a span is read within its time, whatever of it takes so long', async () => {
    const tenantId = await stack.tenant('10');
    const span = { tenantId, from: new Date(0), to: new Date() };
    const reads = [
      () => playRecord(stack.pool, { ...span, tried: [] }, new Replay([]), 200),
      () => readUsedCalls(stack.pool, span, () => undefined, 200),
    ];
    await inTransaction(stack.admin, async (client) => {
      await client.query('LOCK TABLE copilot_internal.limit_changes, copilot_internal.cost_records');
      for (const read of reads) {
        const begunMs = performance.now();
        expect(isTooSlow(await read().catch((error: unknown) => error))).toBe(true);
        expect(performance.now() - begunMs).toBeLessThan(3_000);
      }
    });
  });

  test('a step that waits for money counts once, and of limits by which nothing was played nothing is said', async () => {
    const tenantId = await stack.tenant('1');
    const tried = ['what-if', tenantId, ...['50', 'llm/month=50', 'e2b/month=50'].flatMap((of) => ['--limit', of])];
    expect((await spendlock(api, ...tried)).out).toContain('no request was played, so nothing can be said of it');
    const step = { runId: randomUUID(), step: 3, attempt: 1 };
    for (let asked = 0; asked < 4; asked += 1) await decide(tenantId, [reserve(randomUUID(), '6', step)]);
    await decide(tenantId, [reserve(randomUUID(), '7')]);
    const limits = ['all', 'llm', 'e2b'].map((resourceType) => ({ resourceType, limitUsd: '50' }));
    expect(await whatIf(tenantId, { limits })).toMatchObject({ record: { played: 5 }, raised: 2, raisedUsd: '13' });
    expect((await spendlock(api, ...tried)).out).toContain('asked again counts once');
    const same = await spendlock(api, 'what-if', tenantId, '--limit', '2');
    expect(same.out).toContain('each of the 5 requests played would have been answered the same');
  });

  describe('of five weeks that pass at once, day by day', () => {
    const chance = new Chance(31);
    const daysCount = 35;
    const periods = ['day', 'month', 'week'] as const;
    /** What each may spend in a day, a month and a week. */
    const limits = [
      { scope: 'tenant', scopeId: undefined, limitUsd: ['10', '95', '40'] },
      { scope: 'user', scopeId: 'ada', limitUsd: ['6', '38', '16'] },
      { scope: 'label', scopeId: 'team:search', limitUsd: ['3', '14', '7'] },
    ] as const;

    /** Weeks and months of a tenant that end before a day, so many days ago. */
    const endBefore = async (tenantId: string, daysAgo: number): Promise<void> => {
      const day = new Date(Date.now() - daysAgo * 86_400_000);
      const over = [...(day.getUTCDay() === 1 ? ['week'] : []), ...(day.getUTCDate() === 1 ? ['month'] : [])];
      await stack.admin.query(
        `UPDATE copilot_internal.cost_quotas SET period_end = date_trunc('day', now(), 'UTC') WHERE tenant_id = $1 AND period = ANY ($2)`,
        [tenantId, over],
      );
    };
    const ask = (): ReturnType<typeof reserve> => {
      const [amountUsd, userId] = [chance.between(5, 35) / 10, chance.oneOf(['ada', 'grace', undefined])];
      return reserve(randomUUID(), String(amountUsd), {
        ttlSeconds: 600,
        ...(userId === undefined ? {} : { userId }),
        ...(chance.is(0.7) ? { labels: { team: chance.oneOf(['search', 'ads']) } } : {}),
        ...(chance.is(0.3) ? { minimumUsd: '0.1' } : {}),
      });
    };
    /** What is held ends: most of it at its cost, some at none; some goes on over the end of the day. */
    const end = async (tenantId: string): Promise<void> => {
      const { rows } = await stack.admin.query<{ id: string; grantedUsd: string }>(
        `SELECT operation_id AS id, granted_usd::text AS "grantedUsd" FROM copilot_internal.reservations
         WHERE tenant_id = $1 AND status = 'granted' ORDER BY decided_no`,
        [tenantId],
      );
      const ending = rows.map((row) => ({ ...row, fate: chance.next() })).filter(({ fate }) => fate < 0.8);
      const spent = ending.filter(({ fate }) => fate > 0.1);
      const costOf = (usd: string): bigint => (parseUsd(usd) * BigInt(chance.between(60, 110))) / 100n;
      await recordOutcomes(
        stack.pool,
        tenantId,
        spent.map(({ id, grantedUsd }) => ({ operationId: id, costUsd: costOf(grantedUsd) })),
      );
      await decide(
        tenantId,
        ending.map(({ id, fate }) => (fate > 0.1 ? commit(id) : release(id))),
      );
    };
    const setLimits = (tenantId: string) =>
      api.admin.tenants.setQuotas(
        tenantId,
        limits.flatMap(({ scopeId = tenantId, limitUsd, ...of }) =>
          periods.map((period, at) => ({
            ...{ ...of, scopeId, resourceType: 'all', period },
            limitUsd: limitUsd[at] ?? '',
          })),
        ),
      );

    test('every answer is given once more, while days, weeks and a month end', async () => {
      const tenantId = await stack.tenant('1000');
      await setLimits(tenantId);
      for (let day = 1; day <= daysCount; day += 1) {
        const isToppedUp = day % 12 === 4;
        const expiresAt = new Date(Date.now() + 1_000).toISOString();
        if (isToppedUp)
          await api.admin.budget.topUp(tenantId, { period: 'day', amountUsd: '4', expiresAt, reason: 'a test' });
        if (day % 10 === 9)
          await api.admin.budget.topUp(tenantId, { period: 'month', amountUsd: '6', reason: 'a test' });
        await decide(tenantId, [ask(), ask(), ask()]);
        await end(tenantId);
        // The top-up has expired by then.
        if (isToppedUp) await sleep(1_100);
        await decide(tenantId, [ask(), ask(), ask(), ask()]);
        if (day % 3 > 0) await end(tenantId);
        if (day === daysCount) break;
        await passDays(stack.admin, tenantId);
        await endBefore(tenantId, daysCount - day - 1);
      }
      await dateRecord(stack.admin);
      const { record } = await whatIf(tenantId, { from: new Date(0).toISOString() });
      expect(record).toEqual({ played: 7 * daysCount, reproduced: 7 * daysCount, unlike: [], notReplayed: [] });
      const from = new Date(Date.now() - 17.5 * 86_400_000).toISOString();
      const { record: ofSpan } = await whatIf(tenantId, { from });
      expect(ofSpan).toEqual({ played: 7 * 18, reproduced: 7 * 18, unlike: [], notReplayed: [] });
      // Limits of each period refused something, and let something through in more than one of its periods.
      const { rows: refused } = await stack.admin.query<{ by: string }>(
        `SELECT DISTINCT unnest(ARRAY[refusal #>> '{quota,scope}', refusal #>> '{quota,period}']) AS by
         FROM copilot_internal.reservations WHERE tenant_id = $1 AND status = 'denied'`,
        [tenantId],
      );
      expect(refused.map(({ by }) => by).sort()).toEqual(['day', 'label', 'month', 'tenant', 'user', 'week']);
      const { rows: granted } = await stack.admin.query<Record<(typeof periods)[number], number>>(
        `SELECT ${periods.map((period) => `count(DISTINCT date_trunc('${period}', decided_at, 'UTC'))::integer AS ${period}`).join(', ')}
         FROM copilot_internal.reservations WHERE tenant_id = $1 AND granted_usd > 0`,
        [tenantId],
      );
      expect(granted[0]?.day).toBeGreaterThan(20);
      expect(granted[0]?.week).toBeGreaterThanOrEqual(4);
      expect(granted[0]?.month).toBeGreaterThanOrEqual(2);
    });
  });
});
