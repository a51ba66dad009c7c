/** What tests of top-ups and periods ask of an installation. */
import { randomUUID } from 'node:crypto';
import { formatUsd, parseUsd } from '../../core/money';
import type { Answer, TestApi } from './api';
import { until, type TestStack } from './stack';

export const inHours = (hours: number): string => new Date(Date.now() + hours * 3_600_000).toISOString();

type Shown = Awaited<ReturnType<TestApi['admin']['tenants']['quotas']>>['quotas'][number];

/** A tenant's limits, and what it asks for. `at` asks another API than this one. */
export function moneyAt({ stack, api }: { stack: TestStack; api: TestApi }) {
  /** A tenant with one limit of everything a month. */
  const tenantOf = async (limitUsd: string): Promise<string> => {
    const tenantId = await stack.tenant(limitUsd);
    await stack.admin.query(
      `DELETE FROM copilot_internal.cost_quotas WHERE tenant_id = $1 AND resource_type <> 'all'`,
      [tenantId],
    );
    return tenantId;
  };
  const topUp = (tenantId: string, amountUsd: string, more: object = {}): Promise<Answer> =>
    api.call('POST', `/v1/tenants/${tenantId}/topups`, { body: { amountUsd, reason: 'a test', ...more } });
  const reserve = (tenantId: string, amountUsd: string, more: object = {}, at = api): Promise<Answer> =>
    at.call('POST', '/v1/reservations', {
      body: { operationId: randomUUID(), tenantId, resource: 'llm', amountUsd, ttlSeconds: 3_600, ...more },
    });
  const hold = async (tenantId: string, amountUsd: string, more: object = {}): Promise<string> => {
    const { status, body } = await reserve(tenantId, amountUsd, more);
    expect(status).toBe(201);
    return String(body.operationId);
  };
  const release = (tenantId: string, operationId: string): Promise<Answer> =>
    api.call('POST', `/v1/reservations/${operationId}/release`, { body: { tenantId } });
  const spend = async (tenantId: string, amountUsd: string, more: object = {}): Promise<void> => {
    const operationId = await hold(tenantId, amountUsd, more);
    await api.call('POST', `/v1/reservations/${operationId}/commit`, { body: { tenantId, costUsd: amountUsd } });
    await until('it is folded', async () => {
      const { rowCount } = await stack.admin.query(
        'SELECT FROM copilot_internal.reservations WHERE operation_id = $1 AND outcome_folded',
        [operationId],
      );
      return rowCount === 1;
    });
  };
  /** The moment of the first top-up that expires comes: now, or so soon. Answers when. */
  const expireFirst = async (tenantId: string, inMs = 0): Promise<number> => {
    const { rows } = await stack.admin.query<{ at: Date }>(
      `UPDATE copilot_internal.cost_quotas SET topup_expires_at = n.at, expiring_topups = jsonb_set(expiring_topups, '{0,expiresAt}', to_jsonb(n.at))
       FROM (SELECT now() + $2 * interval '1 millisecond' AS at) AS n
       WHERE tenant_id = $1 AND expiring_topups IS NOT NULL RETURNING n.at`,
      [tenantId, inMs],
    );
    return rows[0]?.at.getTime() ?? NaN;
  };
  /** The period of all its limits ends. */
  const endPeriod = (tenantId: string): Promise<unknown> =>
    stack.admin.query(
      `UPDATE copilot_internal.cost_quotas SET period_start = period_start - interval '40 days', period_end = now() WHERE tenant_id = $1`,
      [tenantId],
    );
  const shown = async (tenantId: string, query = {}): Promise<Shown> => {
    const { quotas } = await api.admin.tenants.quotas(tenantId, query);
    return quotas[quotas.length - 1] as Shown;
  };
  /** Limit, what it is topped up by and what is left, as they are shown. */
  const figures = async (tenantId: string, query = {}): Promise<string[]> => {
    const { limitUsd, topupUsd, remainingUsd } = await shown(tenantId, query);
    return [limitUsd, topupUsd, remainingUsd];
  };
  /** All that shows a tenant's limit, before a decision has looked. */
  const wholeLimitEverywhere = async (tenantId: string): Promise<unknown> => {
    const { quotas } = await api.admin.tenants.quotas(tenantId);
    const [{ tenants }, overview, { rows }] = await Promise.all([
      api.admin.tenants.list({ limit: 500 }),
      api.call('GET', `/v1/tenants/${tenantId}/overview`),
      stack.admin.query<{ limit: string }>(
        `SELECT trim_scale(limit_usd)::text AS limit FROM copilot_internal.quota_gauges(500) WHERE tenant_id = $1`,
        [tenantId],
      ),
    ]);
    const whole = ({ limitUsd, topupUsd }: { limitUsd: string; topupUsd: string }): string =>
      formatUsd(parseUsd(limitUsd) + parseUsd(topupUsd));
    return {
      quotas: quotas.map(whole),
      list: tenants.filter((one) => one.tenantId === tenantId).map(({ limitUsd }) => limitUsd),
      overview: (overview.body.quotas as { limitUsd: string; topupUsd: string }[]).map(whole),
      gauge: rows.map(({ limit }) => limit),
    };
  };
  return {
    tenantOf,
    topUp,
    reserve,
    hold,
    release,
    spend,
    expireFirst,
    endPeriod,
    shown,
    figures,
    wholeLimitEverywhere,
  };
}
