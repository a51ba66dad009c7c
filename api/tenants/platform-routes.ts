/** The routes by which administration sees every tenant, and steers the quotas that bind all of them together. */
import { z, type OpenAPIHono } from '@hono/zod-openapi';
import { listPlatformQuotas, removePlatformQuota, setPlatformQuotas } from '../../store/leases';
import { listTenants } from '../../store/operator-changes';
import { administrationAlone } from '../http/access';
import { operatorOf, type ApiDependencies } from '../http/context';
import { ApiError } from '../http/errors';
import { once } from '../http/idempotency';
import { tenantIdSchema } from '../http/ids';
import { body, json, postRoute, route } from '../http/openapi';
import { pageOf, pageQuery, placeOf } from '../http/pages';
import type { ApiEnv } from '../http/request';
import { tenantsView } from './overview-schemas';
import { showQuota } from './quota-view';
import {
  platformQuotasView,
  removedPlatformQuotaView,
  removePlatformQuotaBody,
  setPlatformQuotasBody,
} from './schemas';

export function platformRoutes(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  const { pool } = dependencies;
  app.openapi(
    route(
      { operationId: 'listTenants', summary: 'List tenants', tag: 'Tenants', access: administrationAlone },
      {
        method: 'get',
        path: '/v1/tenants',
        request: { query: z.object(pageQuery) },
        responses: { 200: json(tenantsView, 'Every tenant, with its monthly quota') },
      },
    ),
    async (c) => {
      const { cursor, limit } = c.req.valid('query');
      const [after] = placeOf(cursor, z.tuple([tenantIdSchema])) ?? [];
      const found = await listTenants(pool, { after, limit: limit + 1 });
      const { rows, nextCursor } = pageOf(found, { limit, place: ({ tenantId }) => [tenantId] });
      const tenants = rows.map((tenant) => ({ ...tenant, createdAt: tenant.createdAt.toISOString() }));
      return c.json({ tenants, nextCursor }, 200);
    },
  );
  const path = '/v1/platform/quotas';
  const answer = json(
    platformQuotasView,
    'The quotas that bind all tenants together, with what they spent, reserved and leased',
  );
  const show = async (): Promise<z.infer<typeof platformQuotasView>> => ({
    quotas: (await listPlatformQuotas(pool)).map((quota) => ({ ...showQuota(quota), leasedUsd: quota.leasedUsd })),
  });
  app.openapi(
    route(
      {
        operationId: 'listPlatformQuotas',
        summary: 'Show what all tenants together may spend',
        tag: 'Platform',
        access: administrationAlone,
      },
      { method: 'get', path, responses: { 200: answer } },
    ),
    async (c) => {
      return c.json(await show(), 200);
    },
  );
  app.openapi(
    route(
      {
        operationId: 'setPlatformQuotas',
        summary: 'Set what all tenants together may spend',
        tag: 'Platform',
        access: administrationAlone,
      },
      { method: 'put', path, request: { body: body(setPlatformQuotasBody) }, responses: { 200: answer } },
    ),
    async (c) => {
      const { quotas, reason, author } = c.req.valid('json');
      await setPlatformQuotas(pool, { changes: quotas, reason, by: operatorOf(c.get('caller'), author) });
      return c.json(await show(), 200);
    },
  );
  removalRoute(app, dependencies);
}

function removalRoute(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  app.openapi(
    postRoute(
      {
        operationId: 'removePlatformQuota',
        summary: 'Remove a limit of all tenants together for good',
        tag: 'Platform',
        access: administrationAlone,
        refuses: ['quota_missing'],
      },
      {
        path: '/v1/platform/quotas/remove',
        request: { body: body(removePlatformQuotaBody) },
        responses: {
          200: json(removedPlatformQuotaView, 'It binds nobody any more; what was spent stays in the ledger'),
        },
      },
    ),
    (c) => {
      const asked = c.req.valid('json');
      const { resourceType, period, reason, author } = asked;
      const by = operatorOf(c.get('caller'), author);
      return once(c, dependencies, asked, async (_seed, keepWith) => {
        const answer = { status: 200 as const, body: { resourceType, period, removed: true as const } };
        const isGone = await removePlatformQuota(dependencies.pool, {
          by,
          quota: { resourceType, period },
          reason,
          keepWith: (client) => keepWith(client, answer),
        });
        if (isGone) return answer;
        const message = `The platform has no ${resourceType} quota per ${period}. Nothing was changed.`;
        throw new ApiError('quota_missing', message);
      });
    },
  );
}
