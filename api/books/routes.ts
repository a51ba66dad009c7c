/** The routes by which administration looks at a tenant's books, and has them mended. */
import type { OpenAPIHono } from '@hono/zod-openapi';
import { lookAtBooks, repairBooks } from '../../store/books';
import { administrationAlone } from '../http/access';
import { operatorOf, tenantFor, type ApiDependencies } from '../http/context';
import type { ApiEnv } from '../http/request';
import { once } from '../http/idempotency';
import { body, idParam, json, postRoute, route } from '../http/openapi';
import { booksView, repairBody } from './schemas';

export function booksRoutes(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  const { pool, authority } = dependencies;
  const params = idParam('The tenant');
  app.openapi(
    route(
      {
        operationId: 'getBooks',
        summary: 'Compare balances with the ledger',
        tag: 'Books',
        access: administrationAlone,
      },
      {
        method: 'get',
        path: '/v1/tenants/{id}/books',
        request: { params },
        responses: { 200: json(booksView, 'What does not agree, and what a mending would change') },
      },
    ),
    async (c) => {
      const tenantId = await tenantFor(c, dependencies, c.req.valid('param').id);
      const order = { tenantId, by: operatorOf(c.get('caller')), reason: 'shown', apply: false };
      const differences = await lookAtBooks(pool, tenantId);
      const changes = differences.length === 0 ? [] : ((await repairBooks(pool, order)) ?? []);
      return c.json({ tenantId, differences, changes }, 200);
    },
  );
  app.openapi(
    postRoute(
      {
        operationId: 'repairBooks',
        summary: 'Mend balances from the ledger',
        tag: 'Books',
        access: administrationAlone,
      },
      {
        path: '/v1/tenants/{id}/books/repair',
        request: { params, body: body(repairBody) },
        responses: { 200: json(booksView, 'What was changed, and what still does not agree') },
      },
    ),
    async (c) => {
      const asked = c.req.valid('json');
      const tenantId = await tenantFor(c, dependencies, c.req.valid('param').id);
      const by = operatorOf(c.get('caller'), asked.author);
      return once(c, dependencies, asked, async () => {
        const changes = (await repairBooks(pool, { tenantId, by, reason: asked.reason, apply: true })) ?? [];
        authority.reload(tenantId);
        return { status: 200, body: { tenantId, differences: await lookAtBooks(pool, tenantId), changes } };
      });
    },
  );
}
