/** Who asks, before anything of a request is read. */
import type { MiddlewareHandler } from 'hono';
import type { ApiDependencies } from './context';
import { bearerOf, type ApiEnv } from './request';
import { ApiError } from './errors';

/** @throws ApiError `unauthorized`, or `unavailable` when the key cannot be looked up at the moment. */
export function authentication({ callers }: Pick<ApiDependencies, 'callers'>): MiddlewareHandler<ApiEnv> {
  return async (c, next) => {
    const key = bearerOf(c);
    if (key === undefined) throw new ApiError('unauthorized', 'No API key came with the request.');
    const caller = await callers.of(key);
    if (!caller) throw new ApiError('unauthorized', 'The API key is not known.');
    c.set('caller', caller);
    await next();
  };
}

/**
 * Looks again once the body has come, for which its client may take minutes: a key that was revoked meanwhile changes nothing.
 * @throws ApiError `unauthorized`.
 */
export function stillGood({ callers }: Pick<ApiDependencies, 'callers'>): MiddlewareHandler<ApiEnv> {
  return async (c, next) => {
    const isRead = c.req.method === 'GET' || c.req.method === 'HEAD';
    if (!isRead && !(await callers.of(bearerOf(c) ?? '')))
      throw new ApiError('unauthorized', 'The API key was revoked while the body came. Nothing was done.');
    await next();
  };
}
