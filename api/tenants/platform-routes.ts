/** The routes by which administration sees every tenant, and steers the quotas that bind all of them together. */
import { z, type OpenAPIHono } from '@hono/zod-openapi';
import { listPlatformQuotas, setPlatformQuotas } from '../../store/leases';
import { listTenants } from '../../store/operator-changes';
import { administrationAlone } from '../http/access';
import { operatorOf, type ApiDependencies } from '../http/context';
import { tenantIdSchema } from '../http/ids';
import { body, json, route } from '../http/openapi';
import { pageOf, pageQuery, placeOf } from '../http/pages';
import type { ApiEnv } from '../http/request';
import { tenantsView } from './overview-schemas';
import { showQuota } from './quota-view';
import { platformQuotasView, setPlatformQuotasBody } from './schemas';

export function platformRoutes(app: OpenAPIHono<ApiEnv>, { pool }: ApiDependencies): void {
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
      const { quotas, author } = c.req.valid('json');
      await setPlatformQuotas(pool, { changes: quotas, by: operatorOf(c.get('caller'), author) });
      return c.json(await show(), 200);
    },
  );
}
