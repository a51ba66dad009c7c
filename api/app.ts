/** The API as a Hono application: what every request passes, and the rooms with their routes. */
import { OpenAPIHono, z } from '@hono/zod-openapi';
import { randomUUID } from 'node:crypto';
import { booksRoutes } from './books/routes';
import { conversationRoutes } from './conversations/routes';
import { dashboard } from './dashboard';
import { limitAccess } from './http/access';
import { authentication, stillGood } from './http/authentication';
import { limitBodies, readJson } from './http/bodies';
import type { ApiDependencies } from './http/context';
import { crossOrigin } from './http/cross-origin';
import { documents } from './http/documents';
import { answerFailures, nameTheFields, refuseUnfit } from './http/failures';
import { limitRate } from './http/rate-limit';
import { readinessRoutes } from './http/readiness';
import type { ApiEnv } from './http/request';
import { requestSpan } from './http/request-span';
import { securityHeaders } from './http/security-headers';
import { limitAnswers } from './http/sockets';
import { takeTurns } from './http/turns';
import { keyRoutes } from './keys/routes';
import { mcpRoutes } from './mcp/routes';
import { moneyRequestRoutes } from './money-requests/routes';
import { priceRoutes } from './prices/routes';
import { toolRoutes } from './tools/routes';
import { recordRoutes } from './records/routes';
import { reservationRoutes } from './reservations/routes';
import { runRoutes } from './runs/routes';
import { budgetRoutes } from './tenants/budget-routes';
import { deletionRoutes } from './tenants/deletion-routes';
import { holdRoutes } from './tenants/hold-routes';
import { mandateRoutes } from './tenants/mandate-routes';
import { overviewRoutes } from './tenants/overview-routes';
import { platformRoutes } from './tenants/platform-routes';
import { tenantRoutes } from './tenants/routes';
import { usageRoutes } from './usage/routes';

const rooms = [
  tenantRoutes,
  runRoutes,
  conversationRoutes,
  usageRoutes,
  reservationRoutes,
  platformRoutes,
  budgetRoutes,
  moneyRequestRoutes,
  holdRoutes,
  mandateRoutes,
  booksRoutes,
  priceRoutes,
  toolRoutes,
  keyRoutes,
  recordRoutes,
  overviewRoutes,
  deletionRoutes,
  mcpRoutes,
  readinessRoutes,
];

export function createApp(dependencies: ApiDependencies): OpenAPIHono<ApiEnv> {
  z.config({ customError: nameTheFields });
  const app = new OpenAPIHono<ApiEnv>({ defaultHook: refuseUnfit });
  app.use(async (c, next) => {
    c.set('requestId', randomUUID());
    c.header('x-request-id', c.get('requestId'));
    await next();
    for (const [name, value] of Object.entries(securityHeaders))
      if (!c.res.headers.has(name)) c.res.headers.set(name, value);
    // A process that ends keeps no connection: its client comes back to another.
    if (dependencies.closing.aborted) c.res.headers.set('connection', 'close');
    // HEAD is answered by what answers GET, without its body: what was begun for one ends here.
    if (c.req.method === 'HEAD') await c.res.body?.cancel();
  });
  app.use('/v1/*', requestSpan);
  app.use('/v1/*', crossOrigin(dependencies.corsOrigins ?? []));
  app.use('/v1/*', authentication(dependencies));
  app.use('/v1/*', limitAnswers(dependencies.untaken));
  app.use('/v1/*', takeTurns());
  if (dependencies.rateLimitPerSecond !== undefined) app.use('/v1/*', limitRate(dependencies.rateLimitPerSecond));
  app.use('/v1/*', limitAccess(app));
  app.use('/v1/*', limitBodies());
  app.use('/v1/*', readJson);
  app.use('/v1/*', stillGood(dependencies));
  answerFailures(app, dependencies.log);
  for (const addRoutes of rooms) addRoutes(app, dependencies);
  dashboard(app);
  app.openAPIRegistry.registerComponent('securitySchemes', 'bearer', { type: 'http', scheme: 'bearer' });
  documents(app);
  return app;
}
