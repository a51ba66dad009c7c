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
