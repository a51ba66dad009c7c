/** How many requests a key may send: a caller that runs away is told to wait, and the others do not feel it. */
import { setTimeout } from 'node:timers/promises';
import type { MiddlewareHandler } from 'hono';
import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import type { ApiEnv } from './request';
import { ApiError } from './errors';

/** What gives money back, or says what was spent: refusing it would leave money held that nobody uses. */
const givesBack = /^\/v1\/reservations\/[^/]+\/(commit|release)$/;

/** Messages to the MCP server: what they ask of the API is counted where it is answered, and what they ask of the server itself by it. */
export const mcpPath = '/v1/mcp';

/** A caller that asks again at once, on many connections, would keep the process busy with refusals alone. */
const refusedAfterMs = 200;

/** Refuses after a moment. @throws the error. */
export async function refuseLate(error: ApiError): Promise<never> {
  await setTimeout(refusedAfterMs);
  throw error;
}

/**
 * Counts each key's requests in this process, second by second. A refusal takes a moment.
 * @throws ApiError `rate_limited` for those beyond `perSecond`, with the seconds to wait.
 */
export function keyRate(perSecond: number): (apiKeyId: string) => Promise<void> {
  const limiter = new RateLimiterMemory({ points: perSecond, duration: 1 });
  return async (apiKeyId) => {
    try {
      await limiter.consume(apiKeyId);
    } catch (refusal) {
      if (!(refusal instanceof RateLimiterRes)) throw refusal;
      const retryAfter = Math.max(1, Math.ceil(refusal.msBeforeNext / 1_000));
      const message = `This key sent more than ${perSecond} requests within a second. Nothing was done.`;
      await refuseLate(new ApiError('rate_limited', message, { retryAfter }));
    }
  };
}

/** The same of the API's routes. */
export function limitRate(perSecond: number): MiddlewareHandler<ApiEnv> {
  const admit = keyRate(perSecond);
  return async (c, next) => {
    if (!givesBack.test(c.req.path) && c.req.path !== mcpPath) await admit(c.get('caller').apiKeyId);
    return next();
  };
}
