/** Several periods of one payer at once, and what a limit is topped up by in them (B4, docs/decisions/0060). */
import fc from 'fast-check';
import { periodAt, type Period } from '../../core/budget/periods';
import { standsAt, topUpsOf, totalOf } from '../../core/budget/top-ups';
import { formatUsd, parseUsd } from '../../core/money';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import { until, type TestStack } from '../support/stack';
import { inHours, moneyAt } from '../support/top-ups';

const seed = Number(process.env.SPENDLOCK_TEST_SEED ?? Date.now() % 2 ** 31);

let stack: TestStack;
let api: TestApi;
let money: ReturnType<typeof moneyAt>;

describe('periods and top-ups', () => {
  withInstallation((made) => {
    ({ stack, api } = made);
    money = moneyAt(made);
  });

  test('a top-up that expires later than its period ends: what is left of it goes on into the next', async () => {
    const tenantId = await money.tenantOf('10');
    await money.topUp(tenantId, '5', { expiresAt: inHours(24 * 60) });
    await money.topUp(tenantId, '1');
    await money.spend(tenantId, '13');
    await money.endPeriod(tenantId);
    // $10 of the limit, the $1 of the period, and $2 of the top-up were spent.
    expect(await money.wholeLimitEverywhere(tenantId)).toMatchObject({ quotas: ['13'], list: ['13'], gauge: ['13'] });
    expect((await money.reserve(tenantId, '13.01')).status).toBe(429);
    const operationId = await money.hold(tenantId, '13');
    await money.expireFirst(tenantId);
    expect(await money.figures(tenantId)).toEqual(['10', '3', '0']);
    await money.release(tenantId, operationId);
    await until('it came back', async () => (await stack.books(tenantId)).reservedUsd === '0');
    expect(await money.figures(tenantId)).toEqual(['10', '0', '10']);
  });

  test('a limit that is set anew is spent first, whatever was before', async () => {
    const tenantId = await money.tenantOf('10');
    const set = (limitUsd: string) => api.admin.tenants.setQuotas(tenantId, [{ resourceType: 'all', limitUsd }]);
    await money.topUp(tenantId, '5', { expiresAt: inHours(1) });
    await money.spend(tenantId, '13');
    await set('12');
    expect(await money.figures(tenantId)).toEqual(['12', '5', '4']);
    await money.expireFirst(tenantId);
    expect(await money.figures(tenantId)).toEqual(['12', '1', '0']);
    await set('12.5');
    expect(await money.figures(tenantId)).toEqual(['12.5', '0.5', '0']);
    await set('14');
    expect(await money.figures(tenantId)).toEqual(['14', '0', '1']);
  });

  test('a mending of the books takes it back as a decision does', async () => {
    const tenantId = await money.tenantOf('10');
    await money.topUp(tenantId, '5', { expiresAt: inHours(1) });
    await money.hold(tenantId, '12');
    await stack.admin.query('UPDATE copilot_internal.cost_quotas SET reserved_usd = 14 WHERE tenant_id = $1', [
      tenantId,
    ]);
    await money.expireFirst(tenantId);
    expect((await money.reserve(tenantId, '0.01')).status).toBe(429);
    expect(await money.figures(tenantId)).toEqual(['10', '4', '0']);
    await api.admin.budget.repairBooks(tenantId, { reason: 'a test' });
    expect(await money.figures(tenantId)).toEqual(['10', '2', '0']);
  });

  test('core and Postgres say the same of whatever a limit is topped up by', async () => {
    const tenantId = await money.tenantOf('10');
    const { rows: made } = await stack.admin.query<{ row: object }>(
      'SELECT to_jsonb(q) AS row FROM copilot_internal.cost_quotas q WHERE tenant_id = $1',
      [tenantId],
    );
    const amount = fc.constantFrom('0', '0.000000000001', '1', '2.5', '4', '9', '20');
    const moment = fc.integer({ min: -40, max: 400 }).map((hours) => Date.UTC(2026, 0, 30, 22) + hours * 3_600_000);
    const drawn = fc.record({
      period: fc.constantFrom<Period>('day', 'week', 'month', 'lifetime'),
      limit: amount,
      spent: amount,
      reserved: amount,
      kept: amount,
      untilPeriodEnd: amount,
      expiring: fc.array(fc.record({ amountUsd: amount.filter((usd) => usd !== '0'), atMs: moment }), { maxLength: 4 }),
      startMs: moment,
      nowMs: moment,
    });
    process.stdout.write(`top-ups: seed ${seed}\n`);
    const cases = fc.sample(drawn, { seed, numRuns: 3_000 }).map((one) => {
      const { start, end } = periodAt(one.period, one.startMs);
      // What has expired when it was last decided stands in no row.
      const expiring = one.expiring
        .filter(({ atMs }) => atMs > one.startMs)
        .sort((a, b) => a.atMs - b.atMs)
        .map(({ amountUsd, atMs }) => ({ amountUsd, expiresAt: new Date(atMs).toISOString() }));
      const topupUsd = formatUsd(
        [one.kept, one.untilPeriodEnd, ...expiring.map(({ amountUsd }) => amountUsd)].reduce(
          (sum, usd) => sum + parseUsd(usd),
          0n,
        ),
      );
      return { ...one, start, end, expiring, topupUsd, nowMs: Math.max(one.nowMs, one.startMs) };
    });
    const { rows } = await stack.admin.query<{ n: string; now: object }>(
      `SELECT n, jsonb_build_object('topupUsd', trim_scale(t.topup_usd)::text, 'keptUsd', trim_scale(t.kept_usd)::text,
                'expiring', t.expiring, 'expiresAtMs', extract(epoch FROM t.expires_at) * 1000) AS now
       FROM jsonb_array_elements($2::jsonb) WITH ORDINALITY AS c (one, n),
            jsonb_populate_record(NULL::copilot_internal.cost_quotas, $1::jsonb || (c.one -> 'row')) AS q,
            copilot_internal.topups_at(q, (c.one ->> 'at')::timestamptz) AS t
       ORDER BY n`,
      [
        JSON.stringify(made[0]?.row),
        JSON.stringify(
          cases.map((one) => ({
            at: new Date(one.nowMs).toISOString(),
            row: {
              ...{ period: one.period, limit_usd: one.limit, current_spend_usd: one.spent, reserved_usd: one.reserved },
              ...{ topup_usd: one.topupUsd, topup_kept_usd: one.kept, expiring_topups: one.expiring },
              ...{ period_start: one.start.toISOString(), period_end: one.end.toISOString() },
            },
          })),
        ),
      ],
    );
    const byCore = cases.map((one) => {
      const topUps = topUpsOf({ topupUsd: one.topupUsd, keptUsd: one.kept, expiring: one.expiring });
      const later = standsAt(
        {
          ...{
            period: one.period,
            periodEndMs: one.end.getTime(),
            topUps,
            limitUsd: parseUsd(one.limit) + totalOf(topUps),
          },
          ...{ spentUsd: parseUsd(one.spent), reservedUsd: parseUsd(one.reserved) },
        },
        one.nowMs,
      ).topUps;
      const expiring = (later?.expiring ?? []).map(({ amountUsd, expiresAtMs }) => [formatUsd(amountUsd), expiresAtMs]);
      return {
        ...{ topupUsd: formatUsd(totalOf(later)), keptUsd: formatUsd(later?.keptUsd ?? 0n), expiring },
        expiresAtMs: later?.expiring[0]?.expiresAtMs ?? null,
      };
    });
    interface Now {
      expiring: { amountUsd: string; expiresAt: string }[] | null;
    }
    const bySql = (rows as { now: Now }[]).map(({ now }) => ({
      ...now,
      expiring: (now.expiring ?? []).map(({ amountUsd, expiresAt }) => [amountUsd, Date.parse(expiresAt)]),
    }));
    expect(bySql).toEqual(byCore);
    expect(new Set(byCore.map(({ keptUsd }) => keptUsd)).size).toBeGreaterThan(5);
    expect(byCore.filter(({ expiring }) => expiring.length > 0).length).toBeGreaterThan(100);
  });

  test.each([
    ['a tenant', 'tenant', undefined],
    ['a user', 'user', 'ada'],
  ] as const)(
    'of %s: each binds, the gate and the authority name the same, and its end is when to try again',
    async (_of, scope, scopeId) => {
      const tenantId = await money.tenantOf('1000');
      const limits = [
        ['day', '5'],
        ['week', '8'],
        ['month', '20'],
      ] as const;
      await api.admin.tenants.setQuotas(
        tenantId,
        limits.map(([period, limitUsd]) => ({
          scope,
          ...(scopeId && { scopeId }),
          resourceType: 'llm',
          period,
          limitUsd,
        })),
      );
      const payer = scopeId ? { userId: scopeId } : {};
      const endsIn = (period: Period): number => (periodAt(period, Date.now()).end.getTime() - Date.now()) / 1_000;
      const bothDeny = async (amountUsd: string, period: Period | undefined): Promise<void> => {
        const gate = await api.call('POST', '/v1/quota-checks', {
          body: { tenantId, resource: 'llm', estimatedUsd: amountUsd, ...payer },
        });
        for (const { status, body } of [gate, await money.reserve(tenantId, amountUsd, payer)]) {
          expect(status).toBe(429);
          if (period === undefined) expect(body.retryAfter).toBeUndefined();
          else expect(Math.abs(Number(body.retryAfter) - endsIn(period))).toBeLessThan(10);
        }
      };
      await money.spend(tenantId, '4', payer);
      await bothDeny('2', 'day');
      // More than a day may cost, whatever the day.
      await bothDeny('6', undefined);
      const nextDay = (): Promise<unknown> =>
        stack.admin.query(
          `UPDATE copilot_internal.cost_quotas SET period_start = period_start - interval '1 day', period_end = now()
         WHERE tenant_id = $1 AND period = 'day'`,
          [tenantId],
        );
      await nextDay();
      await money.spend(tenantId, '4', payer);
      await nextDay();
      // The week is used up, whatever the day has left.
      await bothDeny('1', new Date().getUTCDay() === 0 ? 'day' : 'week');
      const { quotas } = await api.admin.tenants.quotas(tenantId, scopeId ? { userId: scopeId } : {});
      expect(
        quotas
          .filter((quota) => quota.scope === scope && quota.resourceType === 'llm')
          .map(({ period, spentUsd, remainingUsd }) => [period, spentUsd, remainingUsd]),
      ).toEqual([
        ['day', '0', '5'],
        ['month', '8', '12'],
        ['week', '8', '0'],
      ]);
      // A top-up of one lifts that one alone.
      await money.topUp(tenantId, '3', {
        scope,
        ...(scopeId && { scopeId }),
        resourceType: 'llm',
        period: 'week',
        expiresAt: inHours(1),
      });
      expect((await money.reserve(tenantId, '3', payer)).status).toBe(201);
      await bothDeny('1', new Date().getUTCDay() === 0 ? 'day' : 'week');
    },
  );
});
