/** The span of a request, which all that it starts is under. A caller that sends `traceparent` finds it in its own trace. */
import type { MiddlewareHandler } from 'hono';
import { routePath } from 'hono/route';
import { inServerSpan } from '../../telemetry/spans';
import type { ApiEnv } from './request';

export const requestSpan: MiddlewareHandler<ApiEnv> = (c, next) =>
  inServerSpan({ method: c.req.method, headers: () => c.req.header() }, async () => {
    await next();
    const caller = c.get('caller') as ApiEnv['Variables']['caller'] | undefined;
    return { route: routePath(c, -1), path: c.req.path, status: c.res.status, tenantId: caller?.tenantId };
  });
