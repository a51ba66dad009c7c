/** The routes under /v1/reservations. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi';
import { parseAmountUsd } from '../../core/money';
import { tenantFor, type ApiDependencies } from '../http/context';
import { clientGone, type ApiContext, type ApiEnv } from '../http/request';
import { once } from '../http/idempotency';
import { omitUndefined } from '../../core/omit-undefined';
import { operationIdSchema } from '../http/ids';
import { body, failures, idempotencyHeader, json, security } from '../http/openapi';
import * as reservations from './service';
import * as schemas from '../http/schemas';

const operation = z.object({ operationId: operationIdSchema });

/** What a call used is kept in the ledger's line, which people list by the thousand. Its cost is taken whatever comes with it. */
function keptUsage(usage: unknown): unknown {
  if (usage === undefined) return undefined;
  const bytes = Buffer.byteLength(JSON.stringify(usage));
  if (bytes <= schemas.usageBytesMax) return usage;
  return { leftOut: `${bytes} bytes; at most ${schemas.usageBytesMax} are kept` };
}

/** Whether the caller is there for its answer. A repeat is told of the grant: it must be there then. */
const whoWaits = (c: ApiContext): { gone: AbortSignal; comesBack: boolean } => ({
  gone: clientGone(c),
  comesBack: c.req.header('idempotency-key') !== undefined,
});

export function reservationRoutes(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  app.openapi(
    createRoute({
      method: 'post',
      path: '/v1/reservations',
      security,
      request: { headers: idempotencyHeader, body: body(schemas.reserveBody) },
      responses: {
        201: json(z.any(), 'Granted; in part when `partial` is true'),
        429: json(z.any(), 'Denied: the quota that bound, and when to try again'),
        ...failures,
      },
    }),
    async (c) => {
      const asked = c.req.valid('json') as schemas.ReserveBody;
      const tenantId = await tenantFor(c, dependencies, asked.tenantId);
      return (await once(c, dependencies, asked, async () => ({
        status: 201,
        body: await reservations.reserve(dependencies, { tenantId, body: asked, ...whoWaits(c as ApiContext) }),
      }))) as never;
    },
  );
  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/reservations/{operationId}',
      security,
      request: { params: operation, query: z.object({ tenantId: schemas.tenantIdSchema.optional() }) },
      responses: { 200: json(z.any(), 'The reservation as it stands'), ...failures },
    }),
    async (c) => {
      const tenantId = await tenantFor(c, dependencies, c.req.valid('query').tenantId);
      return c.json(
        await reservations.show(dependencies, { tenantId, operationId: c.req.valid('param').operationId }),
        200,
      );
    },
  );
  ending('claim', schemas.claimBody, 'Claimed: the call may be made', async ({ tenantId, operationId, seed }) => {
    await reservations.claim(dependencies, { tenantId, operationId, claimToken: seed });
    return { operationId, claimToken: seed };
  });
  ending('commit', schemas.commitBody, 'Recorded', ({ tenantId, operationId, asked }) => {
    const { costUsd, claimToken, usage, unreserved } = asked;
    const item = {
      operationId,
      costUsd: parseAmountUsd(costUsd),
      ...omitUndefined({ claimToken, usage: keptUsage(usage) }),
    };
    return reservations.commit(dependencies, { tenantId, item, unreserved });
  });
  ending('release', schemas.releaseBody, 'Released', ({ tenantId, operationId, asked: { claimToken } }) =>
    reservations.release(dependencies, { tenantId, item: { operationId, ...omitUndefined({ claimToken }) } }),
  );
  ending('extend', schemas.extendBody, 'Held for longer', ({ tenantId, operationId, asked: { ttlSeconds } }) =>
    reservations.extend(dependencies, { tenantId, operationId, ttlSeconds }),
  );

  /** A POST on one reservation. Its `seed` is the same for a repeat of one whose answer was lost, which is told the same claim token. */
  function ending<S extends z.ZodType<{ tenantId?: string | undefined }>>(
    verb: string,
    schema: S,
    description: string,
    work: (order: { tenantId: string; operationId: string; asked: z.output<S>; seed: string }) => Promise<object>,
  ): void {
    app.openapi(
      createRoute({
        method: 'post',
        path: `/v1/reservations/{operationId}/${verb}`,
        security,
        request: { headers: idempotencyHeader, params: operation, body: body(schema) },
        responses: { 200: json(z.any(), description), ...failures },
      }),
      async (c) => {
        const asked = c.req.valid('json' as never) as z.output<S>;
        const { operationId } = c.req.valid('param');
        const tenantId = await tenantFor(c as ApiContext, dependencies, asked.tenantId);
        return (await once(c as ApiContext, dependencies, asked, async (seed) => ({
          status: 200,
          body: await work({ tenantId, operationId, asked, seed }),
        }))) as never;
      },
    );
  }
}
