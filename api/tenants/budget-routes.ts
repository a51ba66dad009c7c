/** The routes by which operators steer a tenant's budget. Each takes effect on the next decision. */
import type { OpenAPIHono, z } from '@hono/zod-openapi';
import {
  adjustCost,
  freeze,
  noteInAudit,
  setPolicy,
  setUserDefaults,
  topUp,
  unfreeze,
} from '../../store/operator-changes';
import type { Operator } from '../../store/operator';
import { passesColumn, type PoolClient } from '../../store/pool';
import { listReservations, readReservation } from '../../store/reservations';
import { operatorOf, tenantFor, type ApiDependencies } from '../http/context';
import { ApiError } from '../http/errors';
import { once } from '../http/idempotency';
import { operationIdSchema } from '../http/ids';
import { body, idParam, json, postRoute, route } from '../http/openapi';
import { requireAdministration, type ApiContext, type ApiEnv } from '../http/request';
import { releasedView } from '../reservations/schemas';
import { release } from '../reservations/service';
import * as schemas from './schemas';

const params = idParam('The tenant');

export function budgetRoutes(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  const order = orders(dependencies);
  limitRoutes(app, dependencies, order);
  holdRoutes(app, dependencies, order);
}

/** What an administrator orders of a tenant's budget. */
interface Order {
  tenantId: string;
  by: Operator;
  /** Keeps the answer for repeats in the transaction of what it tells of. */
  keepAnswer: (client: PoolClient, answer: object) => Promise<void>;
}
type CarryOut = ReturnType<typeof orders>;

/** Carries an administrator's order out once, and has the authority read what it changed. */
const orders =
  (dependencies: ApiDependencies) =>
  async <B extends object>(
    c: ApiContext,
    { param, body }: { param: { id: string }; body: { author?: string | undefined } },
    work: (order: Order) => Promise<B>,
  ) => {
    requireAdministration(c);
    const tenantId = await tenantFor(c, dependencies, param.id);
    const by = operatorOf(c.get('caller'), body.author);
    return once(c, dependencies, { param, body }, async (_seed, keepWith) => {
      const keepAnswer = (client: PoolClient, answer: object): Promise<void> =>
        keepWith(client, { status: 200, body: answer });
      const answer = await work({ tenantId, by, keepAnswer });
      dependencies.authority.reload(tenantId);
      return { status: 200, body: answer };
    });
  };

/** A POST of an administrator on one tenant. */
const ordering = <V extends string, S extends z.ZodType, A extends ReturnType<typeof json>>(
  verb: V,
  schema: S,
  answer: A,
) =>
  postRoute({
    path: `/v1/tenants/{id}/${verb}`,
    request: { params, body: body(schema) },
    responses: { 200: answer },
  });

/** What may be spent, and what happens when it may not. */
function limitRoutes(app: OpenAPIHono<ApiEnv>, { pool }: ApiDependencies, order: CarryOut): void {
  app.openapi(
    ordering('topups', schemas.topUpBody, json(schemas.topUpView, 'The limit is lifted until the period ends')),
    (c) => {
      const asked = c.req.valid('json');
      return order(c, { param: c.req.valid('param'), body: asked }, async ({ tenantId, by, keepAnswer }) => {
        const { scope, resourceType, period, amountUsd, reason } = asked;
        if (scope === 'user' && asked.scopeId === undefined) {
          throw new ApiError('invalid_request', 'scopeId: a quota of scope user needs the user. Nothing was changed.');
        }
        const quota = { scope, scopeId: scope === 'tenant' ? tenantId : (asked.scopeId ?? ''), resourceType, period };
        const answer = { tenantId, ...quota, amountUsd };
        const keepWith = (client: PoolClient): Promise<void> => keepAnswer(client, answer);
        const isThere = await topUp(pool, { tenantId, by, quota, amountUsd, reason, keepWith }).catch(
          (error: unknown) => {
            if (!passesColumn(error)) throw error;
            const message =
              'amountUsd: with what was added before it is more than an amount can be. Nothing was changed.';
            throw new ApiError('invalid_amount', message);
          },
        );
        if (isThere) return answer;
        throw new ApiError(
          'quota_missing',
          `${tenantId} has no ${resourceType} quota of ${scope} ${quota.scopeId} per ${period}. Nothing was changed.`,
        );
      });
    },
  );
  app.openapi(ordering('freeze', schemas.freezeBody, json(schemas.frozenView, 'Nothing more is reserved')), (c) => {
    const asked = c.req.valid('json');
    return order(c, { param: c.req.valid('param'), body: asked }, async ({ tenantId, by }) => {
      const { userId, reason } = asked;
      await freeze(pool, { tenantId, by, userId, reason });
      return { tenantId, userId, frozen: true };
    });
  });
  app.openapi(ordering('unfreeze', schemas.unfreezeBody, json(schemas.frozenView, 'Reserving goes on')), (c) => {
    const asked = c.req.valid('json');
    return order(c, { param: c.req.valid('param'), body: asked }, async ({ tenantId, by }) => {
      const { userId } = asked;
      await unfreeze(pool, { tenantId, by, userId });
      return { tenantId, userId, frozen: false };
    });
  });
  app.openapi(
    ordering('policy', schemas.policyBody, json(schemas.policyView, 'What happens when the authority does not answer')),
    (c) => {
      const asked = c.req.valid('json');
      return order(c, { param: c.req.valid('param'), body: asked }, async ({ tenantId, by }) => {
        const policy = { onUnavailable: asked.onUnavailable, answerTimeoutMs: asked.answerTimeoutMs };
        await setPolicy(pool, { tenantId, by, policy });
        return { tenantId, ...policy };
      });
    },
  );
  app.openapi(
    ordering('user-defaults', schemas.userDefaultsBody, json(schemas.userDefaultsView, 'What new users get')),
    (c) => {
      const asked = c.req.valid('json');
      return order(c, { param: c.req.valid('param'), body: asked }, async ({ tenantId, by }) => {
        await setUserDefaults(pool, { tenantId, by, defaults: asked.quotas });
        return { tenantId, quotas: asked.quotas };
      });
    },
  );
}

/** What is held and what was spent, and how a person corrects both. */
function holdRoutes(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies, order: CarryOut): void {
  const { pool } = dependencies;
  app.openapi(
    route({
      method: 'get',
      path: '/v1/tenants/{id}/holds',
      request: { params, query: schemas.holdsQuery },
      responses: { 200: json(schemas.holdsView, 'Open reservations, or settlements whose cost nobody knows') },
    }),
    async (c) => {
      const tenantId = await tenantFor(c, dependencies, c.req.valid('param').id);
      const unverified = c.req.valid('query').unverified === 'true';
      return c.json({ tenantId, holds: await listReservations(pool, { tenantId, unverified }) }, 200);
    },
  );
  app.openapi(
    ordering('adjustments', schemas.adjustmentBody, json(schemas.adjustmentView, 'The ledger holds the difference')),
    (c) => {
      const asked = c.req.valid('json');
      return order(c, { param: c.req.valid('param'), body: asked }, async ({ tenantId, by, keepAnswer }) => {
        const { operationId, costUsd, reason } = asked;
        const answer = { tenantId, operationId, costUsd };
        const differenceUsd = await adjustCost(pool, {
          tenantId,
          by,
          adjustment: { operationId, costUsd, reason },
          keepWith: (client, differenceUsd) => keepAnswer(client, { ...answer, differenceUsd }),
        });
        if (differenceUsd !== undefined) return { ...answer, differenceUsd };
        throw new ApiError(
          'unknown_operation',
          `${operationId} of ${tenantId} has no settled cost. Nothing was changed.`,
        );
      });
    },
  );
  app.openapi(
    postRoute({
      path: '/v1/tenants/{id}/holds/{operationId}/release',
      request: { params: params.extend({ operationId: operationIdSchema }), body: body(schemas.releaseHoldBody) },
      responses: { 200: json(releasedView, 'The hold is released: its call was not made, or not billed') },
    }),
    (c) => {
      const asked = c.req.valid('json');
      return order(c, { param: c.req.valid('param'), body: asked }, async ({ tenantId, by }) => {
        const { operationId } = c.req.valid('param');
        if (!(await readReservation(pool, { tenantId, operationId }))) {
          throw new ApiError(
            'unknown_operation',
            `${tenantId} has no reservation ${operationId}. Nothing was changed.`,
          );
        }
        const released = await release(dependencies, { tenantId, item: { operationId, anyClaim: true } });
        await noteInAudit(pool, {
          tenantId,
          by,
          action: 'release_hold',
          details: { operationId, reason: asked.reason },
        });
        return released;
      });
    },
  );
}
