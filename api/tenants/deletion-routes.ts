/** The end of a tenant: all of its rows to take along, and its deletion. */
import type { OpenAPIHono } from '@hono/zod-openapi';
import { exportTenant } from '../../store/tenant-export';
import { deleteTenant } from '../../store/tenants';
import { budgetWorkflowId } from '../../contracts/messages';
import { administrationAlone, everybody } from '../http/access';
import { operatorOf, tenantFor, type ApiDependencies } from '../http/context';
import type { ApiEnv } from '../http/request';
import { ApiError } from '../http/errors';
import { answeredBy } from '../http/temporal-answers';
import { once } from '../http/idempotency';
import { body, idParam, json, medium, postRoute, route } from '../http/openapi';
import * as schemas from './schemas';

const params = idParam('The tenant');

export function deletionRoutes(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  const { pool, temporal, log } = dependencies;
  app.openapi(
    route(
      { operationId: 'exportTenant', summary: 'Take along every row of a tenant', tag: 'Tenants', access: everybody },
      {
        method: 'get',
        path: '/v1/tenants/{id}/export',
        request: { params },
        responses: {
          200: medium<string>(
            'application/x-ndjson',
            'Every row of the tenant, one JSON object a line. The last line counts them: without it, it is not whole',
          ),
        },
      },
    ),
    async (c) => {
      const tenantId = await tenantFor(c, dependencies, c.req.valid('param').id);
      return dependencies.longAnswers.answer(c, {
        kind: 'export',
        headers: {
          'content-type': 'application/x-ndjson',
          'content-disposition': `attachment; filename="${tenantId}.ndjson"`,
        },
        pieces: () => exportTenant(dependencies.exportPool, tenantId),
      });
    },
  );
  app.openapi(
    postRoute(
      {
        operationId: 'deleteTenant',
        summary: 'Delete a tenant',
        tag: 'Tenants',
        access: administrationAlone,
        refuses: ['tenant_busy'],
      },
      {
        path: '/v1/tenants/{id}/delete',
        request: { params, body: body(schemas.deleteTenantBody) },
        responses: { 200: json(schemas.deletedView, 'It is gone') },
      },
    ),
    async (c) => {
      const asked = c.req.valid('json');
      const { id } = c.req.valid('param');
      return once(c, dependencies, { id, ...asked }, async () => {
        const { confirm, reason, author } = asked;
        const tenantId = await tenantFor(c, dependencies, id);
        if (confirm !== tenantId)
          throw new ApiError('invalid_request', `confirm: must be ${tenantId} once more. Nothing was deleted.`);
        const by = operatorOf(c.get('caller'), author);
        const outcome = await deleteTenant(pool, { tenantId, ...by, reason });
        if (outcome === 'unknown')
          throw new ApiError('unknown_tenant', `There is no tenant ${tenantId}. Nothing was deleted.`);
        if (outcome === 'busy')
          throw new ApiError('tenant_busy', `${tenantId} has open runs, or holds money. Nothing was deleted.`);
        await answeredBy(temporal, () =>
          temporal.workflow.getHandle(budgetWorkflowId(tenantId)).terminate('Its tenant was deleted.'),
        ).catch((error: unknown) => log.info({ tenantId, error }, 'the authority of a deleted tenant was not running'));
        return { status: 200, body: { tenantId, deleted: true } };
      });
    },
  );
}
