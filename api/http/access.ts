/** Who may use which route. Each names its roles (`access` in its description); they are held to here, before a body is read. */
import type { OpenAPIHono } from '@hono/zod-openapi';
import type { MiddlewareHandler } from 'hono';
import { matchedRoutes } from 'hono/route';
import type { Role } from '../../core/roles';
import { ApiError } from './errors';
import type { ApiContext, ApiEnv } from './request';

/** The lists that routes choose from. */
export const everybody = ['administration', 'operator', 'agent', 'reader', 'tenant'] as const satisfies readonly Role[];
/** Who starts runs, talks and reserves: what spends. */
export const whoSpends = ['administration', 'agent', 'tenant'] as const satisfies readonly Role[];
/** Who says what a call cost: operators too, who confirm what nobody else may. */
export const whoTellsCosts = ['administration', 'operator', 'agent', 'tenant'] as const satisfies readonly Role[];
/** Who ends what runs. */
export const whoStops = ['administration', 'operator', 'agent', 'tenant'] as const satisfies readonly Role[];
/** Who answers what a run asks of people. */
export const whoDecides = ['administration', 'operator', 'tenant'] as const satisfies readonly Role[];
/** Who steers the money of a tenant. */
export const whoSteers = ['administration', 'operator'] as const satisfies readonly Role[];
/** Who sees how the decisions about a tenant's money are taken. */
export const whoLooksAfter = ['administration', 'operator', 'reader'] as const satisfies readonly Role[];
export const administrationAlone = ['administration'] as const satisfies readonly Role[];

/** @throws ApiError `forbidden` for a key whose role the route does not name; nothing is read or done then. */
export function limitAccess(app: OpenAPIHono<ApiEnv>): MiddlewareHandler<ApiEnv> {
  let known: Map<string, readonly Role[]> | undefined;
  return (c, next) => {
    known ??= rolesByRoute(app);
    // HEAD is answered by what answers GET, as which it is matched too.
    const asked = matchedRoutes(c).find(({ method }) => method !== 'ALL');
    if (asked) {
      // A route that names nobody is nobody's.
      const allowed = known.get(`${asked.method} ${asked.path}`) ?? [];
      const { role } = c.get('caller');
      if (!allowed.includes(role)) throw new ApiError('forbidden', forbiddenMessage(allowed, role));
    }
    // There is no such route: what follows says so.
    return next();
  };
}

/** @throws ApiError `forbidden` where a part of a route, which others may use, is not for the caller's role. */
export function refuseUnless(c: ApiContext, allowed: readonly Role[], what: string): void {
  const { role } = c.get('caller');
  if (!allowed.includes(role)) throw new ApiError('forbidden', forbiddenMessage(allowed, role, what));
}

/** Nobody is told to get a key as they were made before there were roles. */
const forbiddenMessage = (allowed: readonly Role[], role: Role, what = 'This'): string =>
  `${what} needs a key of the role ${allowed.filter((one) => one !== 'tenant').join(' or ')}; this key has the role ${role}. Nothing was done.`;

function rolesByRoute(app: OpenAPIHono<ApiEnv>): Map<string, readonly Role[]> {
  const found = new Map<string, readonly Role[]>();
  for (const definition of app.openAPIRegistry.definitions) {
    if (definition.type !== 'route') continue;
    const {
      method,
      path,
      'x-roles': allowed,
    } = definition.route as typeof definition.route & { 'x-roles'?: readonly Role[] };
    if (allowed) found.set(`${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`, allowed);
  }
  return found;
}
