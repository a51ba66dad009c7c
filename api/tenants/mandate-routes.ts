/** The routes by which operators see who takes a tenant's decisions, and have its authority take all of them. */
import type { OpenAPIHono } from '@hono/zod-openapi';
import type { Decider } from '../../store/decider';
import { orderMandate, readMandate, type Mandate, type OrderedMandate } from '../../store/mandates';
import type { PoolClient } from '../../store/pool';
import { whoLooksAfter } from '../http/access';
import { tenantFor, type ApiDependencies } from '../http/context';
import { ApiError } from '../http/errors';
import { json, route } from '../http/openapi';
import type { ApiContext, ApiEnv } from '../http/request';
import { ordering, orders, params } from './orders';
import * as schemas from './mandate-schemas';

export function mandateRoutes(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  const { pool, enforced, mandates: decides = false } = dependencies;
  const decider: Decider = { enforced, decides };
  app.openapi(
    route(
      {
        operationId: 'getMandate',
        summary: 'Show whether those who ask decide themselves',
        tag: 'Budgets',
        access: whoLooksAfter,
      },
      {
        method: 'get',
        path: '/v1/tenants/{id}/mandate',
        request: { params },
        responses: {
          200: json(schemas.mandateView, 'The mandate, and why nothing is decided under it where that is so'),
        },
      },
    ),
    async (c) => {
      const tenantId = await tenantFor(c, dependencies, c.req.valid('param').id);
      return c.json(shown(await readMandate(pool, tenantId, decider)), 200);
    },
  );
  const order = orders(dependencies);
  const carryOut = (c: ApiContext, to: 'recalled' | 'allowed', { param, body }: MandateAsked) =>
    order(c, { param, body }, async ({ tenantId, by, keepAnswer }) => {
      const { reason } = body;
      const keepWith = (client: PoolClient, ordered: OrderedMandate): Promise<void> =>
        keepAnswer(client, shown(ordered));
      const ordered = await orderMandate(pool, { tenantId, by, reason, to, decider, keepWith });
      if (ordered) return shown(ordered);
      throw new ApiError('unknown_tenant', `There is no tenant ${tenantId}. Nothing was changed.`);
    });
  app.openapi(
    ordering(
      ['mandate/recall', 'recallMandate', 'Have the authority take all decisions'],
      schemas.mandateBody,
      json(schemas.orderedMandateView, 'Nothing more is decided directly, until that is allowed again'),
      { example: { reason: 'A look at the authority alone', author: 'Jo Doe' } },
    ),
    (c) => carryOut(c, 'recalled', { param: c.req.valid('param'), body: c.req.valid('json') }),
  );
  app.openapi(
    ordering(
      ['mandate/allow', 'allowMandate', 'Let those who ask decide again'],
      schemas.mandateBody,
      json(schemas.orderedMandateView, 'The authority may open a mandate again'),
      { example: { reason: 'All is as it should be', author: 'Jo Doe' } },
    ),
    (c) => carryOut(c, 'allowed', { param: c.req.valid('param'), body: c.req.valid('json') }),
  );
}

interface MandateAsked {
  param: { id: string };
  body: { reason?: string | undefined; author?: string | undefined };
}

/** Moments as they are written in an answer, and in one that is kept for repeats. */
const shown = <M extends Mandate>(mandate: M) => ({
  ...mandate,
  openUntil: text(mandate.openUntil),
  recalledAt: text(mandate.recalledAt),
  unseenSince: text(mandate.unseenSince),
  neededSince: text(mandate.neededSince),
});
const text = (moment: Date | null): string | null => moment?.toISOString() ?? null;
