/** The routes by which administration looks at a tenant's books, and has them mended. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi';
import { lookAtBooks, repairBooks } from '../../store/books';
import { operatorOf, tenantFor, type ApiDependencies } from '../http/context';
import { requireAdministration, type ApiContext, type ApiEnv } from '../http/request';
import { once } from '../http/idempotency';
import { body, failures, idempotencyHeader, idParam, json, security } from '../http/openapi';
import * as schemas from '../http/schemas';

const difference = z.object({
  check: z.enum(['balance', 'reservation', 'day', 'lease']),
  name: z.string().openapi({ description: 'Which quota, operation or day.' }),
  says: z.string(),
});
const mended = z.object({
  what: z.enum(['reservation', 'balance', 'day']),
  name: z.string(),
  from: z.string(),
  to: z.string(),
});
const books = z.object({
  tenantId: z.string(),
  differences: z.array(difference).openapi({ description: 'What does not agree; at most 200 are told.' }),
  changes: z.array(mended).openapi({ description: 'What a mending changes. What is left over needs a person.' }),
});

export function booksRoutes(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  const { pool, authority } = dependencies;
  const params = idParam('The tenant');
  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/tenants/{id}/books',
      security,
      request: { params },
      responses: { 200: json(books, 'What does not agree, and what a mending would change'), ...failures },
    }),
    async (c) => {
      requireAdministration(c);
      const tenantId = await tenantFor(c, dependencies, c.req.valid('param').id);
      const order = { tenantId, by: operatorOf(c.get('caller')), reason: 'shown', apply: false };
      const differences = await lookAtBooks(pool, tenantId);
      const changes = differences.length === 0 ? [] : ((await repairBooks(pool, order)) ?? []);
      return c.json({ tenantId, differences, changes }, 200);
    },
  );
  app.openapi(
    createRoute({
      method: 'post',
      path: '/v1/tenants/{id}/books/repair',
      security,
      request: { params, headers: idempotencyHeader, body: body(schemas.repairBody) },
      responses: { 200: json(books, 'What was changed, and what still does not agree'), ...failures },
    }),
    async (c) => {
      requireAdministration(c);
      const asked = c.req.valid('json') as z.output<typeof schemas.repairBody>;
      const tenantId = await tenantFor(c, dependencies, c.req.valid('param').id);
      const by = operatorOf(c.get('caller'), asked.author);
      return (await once(c as ApiContext, dependencies, asked, async () => {
        const changes = (await repairBooks(pool, { tenantId, by, reason: asked.reason, apply: true })) ?? [];
        authority.reload(tenantId);
        return { status: 200, body: { tenantId, differences: await lookAtBooks(pool, tenantId), changes } };
      })) as never;
    },
  );
}
