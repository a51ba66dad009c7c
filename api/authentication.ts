/** Who asks, before anything of a request is read. */
import type { MiddlewareHandler } from 'hono';
import { TooManyUnknownKeys } from './callers';
import { bearerOf, type ApiContext, type ApiDependencies, type ApiEnv } from './context';
import { ApiError } from './errors';

/** @throws ApiError `unauthorized`, or `rate_limited` when many keys that nobody knows came from the same address. */
export function authentication({ callers }: Pick<ApiDependencies, 'callers'>): MiddlewareHandler<ApiEnv> {
  return async (c, next) => {
    const key = bearerOf(c);
    if (key === undefined) throw new ApiError('unauthorized', 'No API key came with the request.');
    const caller = await callers.of(key, addressOf(c)).catch((error: unknown) => {
      if (!(error instanceof TooManyUnknownKeys)) throw error;
      c.header('retry-after', '1');
      const message = 'Many keys that nobody knows came from this address within a second. Nothing was done.';
      throw new ApiError('rate_limited', message, { retryAfter: 1 });
    });
    if (!caller) throw new ApiError('unauthorized', 'The API key is not known.');
    c.set('caller', caller);
    await next();
  };
}

const addressOf = (c: ApiContext): string => c.env.incoming.socket.remoteAddress ?? '';
