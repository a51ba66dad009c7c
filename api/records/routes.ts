/** The routes that tell what operators changed, and which alerts were raised. */
import { z, type OpenAPIHono } from '@hono/zod-openapi';
import { listAlerts, listAuditEntries } from '../../store/audit';
import { everybody, whoSteers } from '../http/access';
import { tenantFor, type ApiDependencies } from '../http/context';
import { json, route } from '../http/openapi';
import { numberedPlace, pageOf, placeOf } from '../http/pages';
import type { ApiEnv } from '../http/request';
import * as schemas from './schemas';

const placeOfAlert = z.tuple([z.uuid()]);

export function recordRoutes(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  const { pool } = dependencies;
  app.openapi(
    route(
      { operationId: 'listAuditEntries', summary: 'List what operators changed', tag: 'Records', access: whoSteers },
      {
        method: 'get',
        path: '/v1/audit',
        request: { query: schemas.auditQuery },
        responses: {
          200: json(
            schemas.auditView,
            'Who changed what, when and why, the newest first; of administration without a tenant, what is of none',
          ),
        },
      },
    ),
    async (c) => {
      const { tenantId: named, action, cursor, limit } = c.req.valid('query');
      const [after] = placeOf(cursor, numberedPlace) ?? [];
      const isOfNone = named === undefined && c.get('caller').tenantId === undefined;
      const tenantId = isOfNone ? undefined : await tenantFor(c, dependencies, named);
      const found = await listAuditEntries(pool, { tenantId, action, after, limit: limit + 1 });
      const { rows, nextCursor } = pageOf(found, { limit, place: ({ auditEntryId }) => [auditEntryId] });
      const entries = rows.map((entry) => ({ ...entry, createdAt: entry.createdAt.toISOString() }));
      return c.json({ entries, nextCursor }, 200);
    },
  );
  app.openapi(
    route(
      { operationId: 'listAlerts', summary: 'List the alerts of a tenant', tag: 'Records', access: everybody },
      {
        method: 'get',
        path: '/v1/alerts',
        request: { query: schemas.alertsQuery },
        responses: {
          200: json(schemas.alertsView, 'Warnings, limits that were reached, and overruns, the newest first'),
        },
      },
    ),
    async (c) => {
      const { tenantId: named, cursor, limit } = c.req.valid('query');
      const [after] = placeOf(cursor, placeOfAlert) ?? [];
      const tenantId = await tenantFor(c, dependencies, named);
      const found = await listAlerts(pool, { tenantId, after, limit: limit + 1 });
      const { rows, nextCursor } = pageOf(found, { limit, place: ({ alertId }) => [alertId] });
      const alerts = rows.map((alert) => ({
        ...alert,
        raisedAt: alert.raisedAt.toISOString(),
        sentAt: alert.sentAt?.toISOString() ?? null,
      }));
      return c.json({ alerts, nextCursor }, 200);
    },
  );
}
