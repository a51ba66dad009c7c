/** How tenants stand, for the dashboard and whoever builds one: in one answer, or as a stream that tells of every change. */
import type { OpenAPIHono } from '@hono/zod-openapi';
import { forecast } from '../../core/budget/forecast';
import { formatUsd } from '../../core/money';
import { balanceOf } from '../../core/budget/quotas';
import { listTenants } from '../../store/operator-changes';
import { readOverview, type TenantOverview } from '../../store/overview';
import type { Pool } from '../../store/pool';
import type { StoredQuota } from '../../store/quota-rows';
import { administrationAlone, everybody } from '../http/access';
import { tenantFor, type ApiDependencies } from '../http/context';
import type { ApiEnv } from '../http/request';
import { ApiError } from '../http/errors';
import { streamChanges } from '../http/live-views';
import { eventStream, idParam, json, route } from '../http/openapi';
import { currentKeyView } from '../keys/schemas';
import * as schemas from './overview-schemas';
import { showQuota } from './quota-view';

export function overviewRoutes(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  const { pool, streamPool, links } = dependencies;
  app.openapi(
    route(
      { operationId: 'getCurrentKey', summary: 'Show whom the key speaks for', tag: 'Keys', access: everybody },
      {
        method: 'get',
        path: '/v1/keys/current',
        responses: { 200: json(currentKeyView, 'Whom the key speaks for, and where else to look') },
      },
    ),
    (c) => {
      const { apiKeyId, tenantId = null, role } = c.get('caller');
      return c.json({ apiKeyId, tenantId, role, links: links ?? {} }, 200);
    },
  );
  app.openapi(
    route(
      { operationId: 'followTenants', summary: 'Follow all tenants', tag: 'Tenants', access: administrationAlone },
      {
        method: 'get',
        path: '/v1/tenants/events',
        responses: { 200: eventStream('`tenants`: every tenant, at once and whenever one changes') },
      },
    ),
    (c) => {
      const read = async (): Promise<object> => ({ tenants: await listTenants(streamPool) });
      return streamChanges(c, dependencies, { event: 'tenants', of: '', everyMs: 2_000, read });
    },
  );
  const params = idParam('The tenant');
  const overviewOf = async (reader: Pool, tenantId: string, now: Date): Promise<schemas.OverviewView> => {
    const from = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate() - 30));
    const overview = await readOverview(reader, { tenantId, from, now });
    if (!overview) throw new ApiError('unknown_tenant', `There is no tenant ${JSON.stringify(tenantId)}.`);
    return show(overview, now);
  };
  app.openapi(
    route(
      { operationId: 'getOverview', summary: 'Show how a tenant stands', tag: 'Tenants', access: everybody },
      {
        method: 'get',
        path: '/v1/tenants/{id}/overview',
        request: { params },
        responses: {
          200: json(schemas.overviewView, 'Quotas with a forecast, spend of 31 days, denials, alerts, holds'),
        },
      },
    ),
    async (c) => {
      const tenantId = await tenantFor(c, dependencies, c.req.valid('param').id);
      return c.json(await overviewOf(pool, tenantId, new Date()), 200);
    },
  );
  app.openapi(
    route(
      { operationId: 'followOverview', summary: 'Follow how a tenant stands', tag: 'Tenants', access: everybody },
      {
        method: 'get',
        path: '/v1/tenants/{id}/overview/events',
        request: { params },
        responses: { 200: eventStream('`overview`: the same, at once and whenever it changes') },
      },
    ),
    async (c) => {
      const tenantId = await tenantFor(c, dependencies, c.req.valid('param').id);
      // A forecast moves with the clock; to the minute is as fine as anybody reads it.
      const toTheMinute = (): Date => new Date(Math.floor(Date.now() / 60_000) * 60_000);
      const read = (): Promise<object> => overviewOf(streamPool, tenantId, toTheMinute());
      return streamChanges(c, dependencies, { event: 'overview', of: tenantId, everyMs: 1_000, read });
    },
  );
}

function show(
  { spend, denials, alerts, holds, waiting, createdAt, ...overview }: TenantOverview,
  now: Date,
): schemas.OverviewView {
  return {
    ...overview,
    quotas: overview.quotas.map((quota) => ({
      ...showQuota(quota),
      forecast: forecastOf(quota, { since: createdAt, now }),
    })),
    shadowQuotas: overview.shadowQuotas.map(showQuota),
    spend: { ...spend, from: spend.from.toISOString() },
    denials: denials.map(({ quota, deniedAt, ...denial }) => ({
      ...denial,
      quota: quota && { ...quota },
      deniedAt: deniedAt.toISOString(),
    })),
    alerts: alerts.map((alert) => ({
      ...alert,
      raisedAt: alert.raisedAt.toISOString(),
      sentAt: alert.sentAt?.toISOString() ?? null,
    })),
    waiting: waiting.map((step) => ({ ...step, since: step.since.toISOString() })),
    holds: holds.map(
      ({
        operationId,
        runId,
        workflowId,
        userId,
        kind,
        resource,
        model,
        grantedUsd,
        unreserved,
        allowedUsd,
        claimed,
        parentOperationId,
        envelope,
        decidedAt,
        expiresAt,
      }) => ({
        ...{ operationId, runId, workflowId, userId, kind, resource, model, claimed },
        ...{ heldUsd: grantedUsd ?? '0', unreserved, allowedUsd, parentOperationId, envelope },
        decidedAt: decidedAt.toISOString(),
        expiresAt: expiresAt?.toISOString() ?? null,
      }),
    ),
  };
}

/** @param at.since when its tenant was made: nothing was spent before, which says nothing of how it will go on. */
function forecastOf(
  quota: StoredQuota,
  { since, now }: { since: Date; now: Date },
): schemas.OverviewView['quotas'][number]['forecast'] {
  if (quota.period === 'lifetime') return null;
  const found = forecast(
    {
      ...balanceOf(quota),
      topUps: quota.topUps,
      period: quota.period,
      periodStartMs: Math.max(quota.periodStart.getTime(), since.getTime()),
      periodEndMs: quota.periodEnd.getTime(),
    },
    now.getTime(),
  );
  if (!found) return null;
  const { projectedUsd, exhaustedAtMs } = found;
  return {
    projectedUsd: formatUsd(projectedUsd),
    exhaustedAt: exhaustedAtMs === undefined ? null : new Date(exhaustedAtMs).toISOString(),
  };
}
