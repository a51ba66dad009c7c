/** The routes that show what is held and what was spent, and by which a person corrects both. */
import { z, type OpenAPIHono } from '@hono/zod-openapi';
import { adjustCost, noteInAudit } from '../../store/operator-changes';
import { listReservations, readReservation, type OperationKey } from '../../store/reservations';
import { everybody, whoSteers } from '../http/access';
import { tenantFor, type ApiDependencies } from '../http/context';
import { ApiError } from '../http/errors';
import { operationIdSchema } from '../http/ids';
import { body, json, postRoute, route } from '../http/openapi';
import { pageOf, placeOf } from '../http/pages';
import type { ApiEnv } from '../http/request';
import { releasedView } from '../reservations/schemas';
import { release } from '../reservations/service';
import { ordering, orders, params, type CarryOut } from './orders';
import * as schemas from './schemas';

/** A moment in microseconds, and the operation. */
const place = z.tuple([z.iso.datetime({ precision: 6 }), z.uuid()]);

/** How long a correction waits until what was told of the call is in the ledger. */
const foldTimeoutMs = 5_000;

/** Corrects a cost, also one that was told just now and is in the ledger a moment later. */
async function onceFolded(
  { authority }: ApiDependencies,
  { tenantId, operationId }: OperationKey,
  correct: () => Promise<string | undefined>,
): Promise<string | undefined> {
  const differenceUsd = await correct();
  if (differenceUsd !== undefined) return differenceUsd;
  if (await authority.folded(tenantId, operationId, foldTimeoutMs)) return correct();
  throw new ApiError(
    'authority_unavailable',
    `What ${operationId} of ${tenantId} cost is known and not in the ledger yet, since its authority did not answer. Nothing was changed.`,
    {
      action:
        'Order the same again in a moment. Where it stays so, `npx spendlock doctor` says whether budget workers run.',
    },
  );
}

export function holdRoutes(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  const order = orders(dependencies);
  const { pool } = dependencies;
  app.openapi(
    route(
      {
        operationId: 'listHolds',
        summary: 'List what is held, or was settled without a known cost',
        tag: 'Budgets',
        access: everybody,
      },
      {
        method: 'get',
        path: '/v1/tenants/{id}/holds',
        request: { params, query: schemas.holdsQuery },
        responses: { 200: json(schemas.holdsView, 'Open reservations, or settlements whose cost nobody knows') },
      },
    ),
    async (c) => {
      const tenantId = await tenantFor(c, dependencies, c.req.valid('param').id);
      const { cursor, limit, unverified } = c.req.valid('query');
      const [placedAt, operationId] = placeOf(cursor, place) ?? [];
      const after = placedAt === undefined || operationId === undefined ? undefined : { placedAt, operationId };
      const which = { tenantId, unverified: unverified === 'true', after, limit: limit + 1 };
      const { rows, nextCursor } = pageOf(await listReservations(pool, which), {
        limit,
        place: (hold) => [hold.placedAt, hold.operationId],
      });
      return c.json({ tenantId, holds: rows.map(({ placedAt: _, ...hold }) => hold), nextCursor }, 200);
    },
  );
  app.openapi(
    ordering(
      ['adjustments', 'adjustCost', 'Correct what an operation cost'],
      schemas.adjustmentBody,
      json(schemas.adjustmentView, 'The ledger holds the difference'),
    ),
    (c) => {
      const asked = c.req.valid('json');
      return order(c, { param: c.req.valid('param'), body: asked }, async ({ tenantId, by, keepAnswer }) => {
        const { operationId, costUsd, reason } = asked;
        const answer = { tenantId, operationId, costUsd };
        const differenceUsd = await onceFolded(dependencies, { tenantId, operationId }, () =>
          adjustCost(pool, {
            tenantId,
            by,
            adjustment: { operationId, costUsd, reason },
            keepWith: (client, differenceUsd) => keepAnswer(client, { ...answer, differenceUsd }),
          }),
        );
        if (differenceUsd !== undefined) return { ...answer, differenceUsd };
        throw new ApiError(
          'unknown_operation',
          `${operationId} of ${tenantId} has no settled cost. Nothing was changed.`,
        );
      });
    },
  );
  releasing(app, dependencies, order);
}

/** An operator's release, also of what another claimed. */
function releasing(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies, order: CarryOut): void {
  const { pool } = dependencies;
  app.openapi(
    postRoute(
      {
        operationId: 'releaseHold',
        summary: 'Release a hold',
        tag: 'Budgets',
        access: whoSteers,
        refuses: ['claim_refused', 'operation_conflict'],
      },
      {
        path: '/v1/tenants/{id}/holds/{operationId}/release',
        request: { params: params.extend({ operationId: operationIdSchema }), body: body(schemas.releaseHoldBody) },
        responses: { 200: json(releasedView, 'The hold is released: its call was not made, or not billed') },
      },
    ),
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
