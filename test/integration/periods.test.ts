/** The calendar of Postgres, which resets periods, is that of the decision; and what happens in the moment a period ends. */
import { randomUUID } from 'node:crypto';
import { periodAt, type Period } from '../../core/budget/periods';
import type { TestApi } from '../support/api';
import { withInstallation } from '../support/installation';
import { type TestStack, until } from '../support/stack';

describe('periods', () => {
  let stack: TestStack;
  let api: TestApi;
  withInstallation((made) => ({ stack, api } = made));
  const reserve = async (tenantId: string, amountUsd: string): Promise<number> => {
    const body = { operationId: randomUUID(), tenantId, resource: 'llm', amountUsd };
    return (await api.request('/v1/reservations', { method: 'POST', body })).status;
  };

  test('Postgres and the decision agree on every period around eight years of moments', async () => {
    // Every 13 h 7 min 11 s: all hours of all days, month ends, year ends and two leap days among them.
    const stepMs = ((13 * 60 + 7) * 60 + 11) * 1000;
    const fromMs = Date.UTC(2024, 0, 1);
    const moments = Array.from({ length: Math.ceil((8 * 366 * 86_400_000) / stepMs) }, (_, n) => fromMs + n * stepMs);
    for (const exact of [
      '2026-01-31T23:59:59.999Z',
      '2026-02-01T00:00:00Z',
      '2028-02-29T12:00:00Z',
      '2028-12-31T23:59:59.999Z',
    ])
      moments.push(Date.parse(exact));
    for (const period of ['day', 'week', 'month', 'lifetime'] as const satisfies Period[]) {
      const { rows } = await stack.admin.query<{ at: Date; period_start: Date; period_end: Date }>(
        `SELECT m.at, b.period_start, b.period_end FROM unnest($2::timestamptz[]) AS m (at),
           copilot_internal.period_bounds($1, m.at) AS b`,
        [period, moments.map((ms) => new Date(ms).toISOString())],
      );
      expect(rows).toHaveLength(moments.length);
      const wrong = rows.filter(({ at, period_start, period_end }) => {
        const { start, end } = periodAt(period, at);
        return start.getTime() !== period_start.getTime() || end.getTime() !== period_end.getTime();
      });
      expect(wrong).toEqual([]);
    }
  });

  test.each([
    ['2026-01-31T17:45:00Z', '2026-02-01T00:00:00.000Z', '2026-02-28T23:00:00Z', '2026-03-01T00:00:00.000Z'],
    ['2028-01-31T00:00:00Z', '2028-02-01T00:00:00.000Z', '2028-02-29T23:59:59Z', '2028-03-01T00:00:00.000Z'],
    ['2026-12-31T23:59:59Z', '2027-01-01T00:00:00.000Z', '2027-01-01T00:00:00Z', '2027-02-01T00:00:00.000Z'],
  ])(
    'a monthly quota made at %s resets at %s, and in the period around %s at %s (F4)',
    async (made, end, later, next) => {
      const tenantId = await stack.tenant('10');
      const ends = async (now: string): Promise<string[]> => {
        await stack.admin.query('SELECT copilot_internal.reset_ended_periods($1, $2)', [tenantId, now]);
        const { rows } = await stack.admin.query<{ period_end: Date }>(
          'SELECT DISTINCT period_end FROM copilot_internal.cost_quotas WHERE tenant_id = $1',
          [tenantId],
        );
        return rows.map(({ period_end }) => period_end.toISOString());
      };
      await stack.admin.query(
        `UPDATE copilot_internal.cost_quotas SET period_start = b.period_start, period_end = b.period_end
       FROM copilot_internal.period_bounds('month', $2) AS b WHERE tenant_id = $1`,
        [tenantId, made],
      );
      expect(await ends(made)).toEqual([end]);
      expect(await ends(later)).toEqual([next]);
    },
  );

  test('two calls arrive in the moment a period ends: one reset, and both count in the new period (F3)', async () => {
    const tenantId = await stack.tenant('10');
    await stack.admin.query(
      `UPDATE copilot_internal.cost_quotas SET current_spend_usd = 10, period_start = period_start - interval '1 month',
         period_end = now() + interval '3 seconds' WHERE tenant_id = $1`,
      [tenantId],
    );
    expect(await reserve(tenantId, '4')).toBe(429);
    const { rows } = await stack.admin.query<{ left: number }>(
      `SELECT extract(epoch FROM max(period_end) - clock_timestamp())::float8 * 1000 AS left
       FROM copilot_internal.cost_quotas WHERE tenant_id = $1`,
      [tenantId],
    );
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, rows[0]?.left ?? 0) + 1));
    expect(await Promise.all([reserve(tenantId, '4'), reserve(tenantId, '4')])).toEqual([201, 201]);
    expect(await reserve(tenantId, '4')).toBe(429);
    expect(await stack.books(tenantId)).toMatchObject({ spentUsd: '0', reservedUsd: '8' });
  });

  test('what is held when a period ends carries over, and is spent in the new one', async () => {
    const tenantId = await stack.tenant('10');
    const operationId = randomUUID();
    const body = { operationId, tenantId, resource: 'llm', amountUsd: '6' };
    await api.request('/v1/reservations', { method: 'POST', body });
    await stack.admin.query(
      `UPDATE copilot_internal.cost_quotas SET current_spend_usd = 3, period_start = period_start - interval '1 month',
         period_end = now() WHERE tenant_id = $1`,
      [tenantId],
    );
    expect(await reserve(tenantId, '5')).toBe(429);
    expect(await reserve(tenantId, '4')).toBe(201);
    await api.request(`/v1/reservations/${operationId}/commit`, { method: 'POST', body: { tenantId, costUsd: '6' } });
    await until('it is folded', async () => (await stack.books(tenantId)).spentUsd === '6');
    expect(await stack.books(tenantId)).toMatchObject({ ledgerUsd: '6', reservedUsd: '4' });
  });
});
