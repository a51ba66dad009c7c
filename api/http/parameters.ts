/** What stands behind the `?` of an address: each parameter of it is one that the route knows, or the request is refused. */
import type { MiddlewareHandler } from 'hono';
import { ApiError } from './errors';
import type { ApiEnv } from './request';

/** @throws ApiError `invalid_request` for a parameter that is not among these: a filter with a typing error would filter nothing. */
export function refuseUnknown(known: readonly string[]): MiddlewareHandler<ApiEnv> {
  const names = new Set(known);
  const all = known.length === 0 ? 'It takes none' : `It takes ${known.join(', ')}`;
  return async (c, next) => {
    if (!c.req.url.includes('?')) return next();
    const unknown = Object.keys(c.req.queries()).filter((name) => !names.has(name));
    if (unknown.length > 0) {
      const what = unknown.map((name) => JSON.stringify(name)).join(', ');
      throw new ApiError('invalid_request', `${what}: ${c.req.path} has no such parameter. ${all}. Nothing was done.`);
    }
    return next();
  };
}
