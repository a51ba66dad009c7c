/** The routes by which operators steer a tenant's budget. Each takes effect on the next decision. */
import { createRoute, z, type OpenAPIHono } from '@hono/zod-openapi';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import {
  adjustCost,
  freeze,
  listTenants,
  noteInAudit,
  setPolicy,
  setUserDefaults,
  topUp,
  unfreeze,
} from '../../store/operator-changes';
import { listPlatformQuotas, setPlatformQuotas } from '../../store/leases';
import type { Operator } from '../../store/operator';
import { passesColumn, type Pool, type PoolClient } from '../../store/pool';
import { listReservations, readReservation } from '../../store/reservations';
import { operatorOf, tenantFor, type ApiDependencies } from '../http/context';
import { requireAdministration, type ApiContext, type ApiEnv } from '../http/request';
import { ApiError } from '../http/errors';
import { once } from '../http/idempotency';
import { operationIdSchema } from '../http/ids';
import { failures, idempotencyHeader, idParam, json, security } from '../http/openapi';
import { release } from '../reservations/service';
import { showQuota } from './quota-view';
import * as schemas from '../http/schemas';

function platformRoutes(app: OpenAPIHono<ApiEnv>, { pool }: ApiDependencies): void {
  const path = '/v1/platform/quotas';
  const answer = json(
    z.object({ quotas: z.array(schemas.platformQuotaView) }),
    'The quotas that bind all tenants together, with what they spent, reserved and leased',
  );
  const show = async (): Promise<{ quotas: z.infer<typeof schemas.platformQuotaView>[] }> => ({
    quotas: (await listPlatformQuotas(pool)).map((quota) => ({ ...showQuota(quota), leasedUsd: quota.leasedUsd })),
  });
  app.openapi(createRoute({ method: 'get', path, security, responses: { 200: answer, ...failures } }), async (c) => {
    requireAdministration(c);
    return c.json(await show(), 200);
  });
  app.openapi(
    createRoute({
      method: 'put',
      path,
      security,
      request: { body: { required: true, content: { 'application/json': { schema: schemas.setPlatformQuotasBody } } } },
      responses: { 200: answer, ...failures },
    }),
    async (c) => {
      requireAdministration(c);
      const { quotas, author } = c.req.valid('json');
      await setPlatformQuotas(pool, { changes: quotas, by: operatorOf(c.get('caller'), author) });
      return c.json(await show(), 200);
    },
  );
}

interface Order<B> {
  tenantId: string;
  by: Operator;
  body: B;
  param: Record<string, string>;
  /** Keeps the answer for repeats in the transaction of what it tells of. */
  keepAnswer: (client: PoolClient, answer: object) => Promise<void>;
}

async function lift(
  pool: Pool,
  { tenantId, by, body, keepAnswer }: Order<z.output<typeof schemas.topUpBody>>,
): Promise<object> {
  const { scope, resourceType, period, amountUsd, reason } = body;
  if (scope === 'user' && body.scopeId === undefined) {
    throw new ApiError('invalid_request', 'scopeId: a quota of scope user needs the user. Nothing was changed.');
  }
  const quota = { scope, scopeId: scope === 'tenant' ? tenantId : (body.scopeId ?? ''), resourceType, period };
  const answer = { tenantId, ...quota, amountUsd };
  const keepWith = (client: PoolClient): Promise<void> => keepAnswer(client, answer);
  const isThere = await topUp(pool, { tenantId, by, quota, amountUsd, reason, keepWith }).catch((error: unknown) => {
    if (!passesColumn(error)) throw error;
    const message = 'amountUsd: with what was added before it is more than an amount can be. Nothing was changed.';
    throw new ApiError('invalid_amount', message);
  });
  if (isThere) return answer;
  throw new ApiError(
    'quota_missing',
    `${tenantId} has no ${resourceType} quota of ${scope} ${quota.scopeId} per ${period}. Nothing was changed.`,
  );
}

async function correct(
  pool: Pool,
  { tenantId, by, body, keepAnswer }: Order<z.output<typeof schemas.adjustmentBody>>,
): Promise<object> {
  const { operationId, costUsd, reason } = body;
  const answer = { tenantId, operationId, costUsd };
  const differenceUsd = await adjustCost(pool, {
    tenantId,
    by,
    adjustment: { operationId, costUsd, reason },
    keepWith: (client, differenceUsd) => keepAnswer(client, { ...answer, differenceUsd }),
  });
  if (differenceUsd !== undefined) return { ...answer, differenceUsd };
  throw new ApiError('unknown_operation', `${operationId} of ${tenantId} has no settled cost. Nothing was changed.`);
}

export function budgetRoutes(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  const { pool, authority } = dependencies;
  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/tenants',
      security,
      responses: {
        200: json(z.object({ tenants: z.array(schemas.tenantSummary) }), 'Every tenant, with its monthly quota'),
        ...failures,
      },
    }),
    async (c) => {
      requireAdministration(c);
      const tenants = await listTenants(pool);
      return c.json(
        { tenants: tenants.map((tenant) => ({ ...tenant, createdAt: tenant.createdAt.toISOString() })) },
        200,
      );
    },
  );
  platformRoutes(app, dependencies);
  app.openapi(
    createRoute({
      method: 'get',
      path: '/v1/tenants/{id}/holds',
      security,
      request: { params: idParam('The tenant'), query: z.object({ unverified: z.enum(['true', 'false']).optional() }) },
      responses: { 200: json(z.any(), 'Open reservations, or settlements whose cost nobody knows'), ...failures },
    }),
    async (c) => {
      const tenantId = await tenantFor(c, dependencies, c.req.valid('param').id);
      const unverified = c.req.valid('query').unverified === 'true';
      return c.json({ tenantId, holds: await listReservations(pool, { tenantId, unverified }) }, 200);
    },
  );
  post('topups', schemas.topUpBody, 'The limit is lifted until the period ends', (order) => lift(pool, order));
  post('freeze', schemas.freezeBody, 'Nothing more is reserved', async ({ tenantId, by, body: { userId, reason } }) => {
    await freeze(pool, { tenantId, by, userId, reason });
    return { tenantId, userId, frozen: true };
  });
  post('unfreeze', schemas.unfreezeBody, 'Reserving goes on', async ({ tenantId, by, body: { userId } }) => {
    await unfreeze(pool, { tenantId, by, userId });
    return { tenantId, userId, frozen: false };
  });
  post(
    'policy',
    schemas.policyBody,
    'What happens when the authority does not answer',
    async ({ tenantId, by, body }) => {
      const policy = { onUnavailable: body.onUnavailable, answerTimeoutMs: body.answerTimeoutMs };
      await setPolicy(pool, { tenantId, by, policy });
      return { tenantId, ...policy };
    },
  );
  post('user-defaults', schemas.userDefaultsBody, 'What new users get', async ({ tenantId, by, body: { quotas } }) => {
    await setUserDefaults(pool, { tenantId, by, defaults: quotas });
    return { tenantId, quotas };
  });
  post('adjustments', schemas.adjustmentBody, 'The ledger holds the difference', (order) => correct(pool, order));
  post(
    'holds/{operationId}/release',
    schemas.releaseHoldBody,
    'The hold is released: its call was not made, or not billed',
    async ({ tenantId, by, body: { reason }, param }) => {
      const { operationId = '' } = param;
      if (!(await readReservation(pool, { tenantId, operationId }))) {
        throw new ApiError('unknown_operation', `${tenantId} has no reservation ${operationId}. Nothing was changed.`);
      }
      const released = await release(dependencies, { tenantId, item: { operationId, anyClaim: true } });
      await noteInAudit(pool, { tenantId, by, action: 'release_hold', details: { operationId, reason } });
      return released;
    },
  );

  /** A POST of an administrator on one tenant. */
  function post<S extends z.ZodType<{ author?: string | undefined }>>(
    path: string,
    schema: S,
    description: string,
    work: (order: Order<z.output<S>>) => Promise<object>,
  ): void {
    const params = path.includes('{operationId}')
      ? idParam('The tenant').extend({ operationId: operationIdSchema })
      : idParam('The tenant');
    app.openapi(
      createRoute({
        method: 'post',
        path: `/v1/tenants/{id}/${path}`,
        security,
        request: {
          headers: idempotencyHeader,
          params,
          body: { required: true, content: { 'application/json': { schema } } },
        },
        responses: { 200: json(z.any(), description), ...failures },
      }),
      (async (context: { req: { valid: (part: never) => unknown } }) => {
        const c = context as unknown as ApiContext;
        requireAdministration(c);
        const param = context.req.valid('param' as never) as Record<string, string>;
        const body = context.req.valid('json' as never) as z.output<S>;
        const tenantId = await tenantFor(c, dependencies, param.id);
        const by = operatorOf(c.get('caller'), body.author);
        return (await once(c, dependencies, { param, body }, async (_seed, keepWith) => {
          const keepAnswer = (client: PoolClient, answer: object): Promise<void> =>
            keepWith(client, { status: 200, body: answer });
          const answer = await work({ tenantId, by, body, param, keepAnswer });
          authority.reload(tenantId);
          return { status: 200 as ContentfulStatusCode, body: answer };
        })) as never;
      }) as never,
    );
  }
}
