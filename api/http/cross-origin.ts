/** Which pages of other origins may call the API from a browser: those that are configured. Their keys come in a header, never in cookies. */
import type { MiddlewareHandler } from 'hono';
import { cors } from 'hono/cors';
import type { ApiEnv } from './request';

/** How long a browser need not ask again. */
const preflightSeconds = 600;

/**
 * Answers the preflight of an allowed origin, which brings no key, and lets its pages read every answer, refusals too. Any other
 * request goes on as if nothing were configured: without a key it is refused.
 */
export function crossOrigin(origins: readonly string[]): MiddlewareHandler<ApiEnv> {
  const allowed = cors({
    origin: [...origins],
    allowMethods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
    allowHeaders: ['authorization', 'content-type', 'idempotency-key', 'last-event-id'],
    exposeHeaders: ['retry-after', 'x-request-id', 'x-turn-id', 'idempotent-replayed', 'content-disposition'],
    maxAge: preflightSeconds,
  });
  return async (c, next) => {
    const isPreflight = c.req.method === 'OPTIONS' && c.req.header('access-control-request-method') !== undefined;
    if (!origins.includes(c.req.header('origin') ?? '') || (c.req.method === 'OPTIONS' && !isPreflight)) return next();
    return allowed(c, next);
  };
}
