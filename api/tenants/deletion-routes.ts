/** The end of a tenant: all of its rows to take along, and its deletion. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi';
import { exportTenant } from '../../store/tenant-export';
import { deleteTenant } from '../../store/tenants';
import { budgetWorkflowId } from '../../contracts/messages';
import { operatorOf, tenantFor, type ApiDependencies } from '../http/context';
import { requireAdministration, type ApiContext, type ApiEnv } from '../http/request';
import { ApiError } from '../http/errors';
import { once } from '../http/idempotency';
import { body, failures, idempotencyHeader, idParam, json, security } from '../http/openapi';
import * as schemas from '../http/schemas';

const params = idParam('The tenant');

export function deletionRoutes(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  const { pool, temporal, log } = dependencies;
  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/tenants/{id}/export',
      security,
      request: { params },
      responses: {
        200: {
          content: { 'application/x-ndjson': { schema: z.string() } },
          description:
            'Every row of the tenant, one JSON object a line. The last line counts them: without it, it is not whole',
        },
        ...failures,
      },
    }),
    (async (c: ApiContext) => {
      const tenantId = await tenantFor(c, dependencies, c.req.param('id'));
      return dependencies.longAnswers.answer(c, {
        kind: 'export',
        headers: {
          'content-type': 'application/x-ndjson',
          'content-disposition': `attachment; filename="${tenantId}.ndjson"`,
        },
        pieces: () => exportTenant(dependencies.exportPool, tenantId),
      });
    }) as never,
  );
  app.openapi(
    createRoute({
      method: 'post',
      path: '/v1/tenants/{id}/delete',
      security,
      request: { headers: idempotencyHeader, params, body: body(schemas.deleteTenantBody) },
      responses: { 200: json(z.object({ tenantId: z.string(), deleted: z.literal(true) }), 'It is gone'), ...failures },
    }),
    (async (context: unknown) => {
      const c = context as ApiContext & { req: { valid: (part: string) => unknown } };
      requireAdministration(c);
      const asked = c.req.valid('json') as z.output<typeof schemas.deleteTenantBody>;
      const { id } = c.req.valid('param') as { id: string };
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
        await temporal.workflow
          .getHandle(budgetWorkflowId(tenantId))
          .terminate('Its tenant was deleted.')
          .catch((error: unknown) =>
            log.info({ tenantId, error }, 'the authority of a deleted tenant was not running'),
          );
        return { status: 200, body: { tenantId, deleted: true } };
      });
    }) as never,
  );
}
