/** The routes under /v1/money-requests: what denied runs ask people for, and what they answer. */
import { z, type OpenAPIHono } from '@hono/zod-openapi';
import { moneyFreedSignal } from '../../contracts/messages';
import { answerMoneyRequest } from '../../store/money-answers';
import { findMoneyRequest, listMoneyRequests, noteSignalled, type MoneyRequest } from '../../store/money-requests';
import { everybody, whoSteers } from '../http/access';
import { operatorOf, tenantFor, type ApiDependencies } from '../http/context';
import { ApiError } from '../http/errors';
import { once } from '../http/idempotency';
import { moneyRequestIdSchema, runIdSchema } from '../http/ids';
import { body, json, postRoute, route } from '../http/openapi';
import { cursorOf, pageQuery, placeOf } from '../http/pages';
import type { ApiEnv } from '../http/request';
import { tenantQuery } from '../http/schemas';
import { answeredBy, whyOver } from '../http/temporal-answers';
import { expiryOf } from '../tenants/expiry';
import * as schemas from './schemas';

const place = z.tuple([z.uuid()]);

const viewOf = ({ waiterId: _, ...request }: MoneyRequest): schemas.MoneyRequestView => ({
  ...request,
  mayAnswer: [...whoSteers],
  expiresAt: request.expiresAt?.toISOString() ?? null,
  createdAt: request.createdAt.toISOString(),
  waitsUntil: request.waitsUntil.toISOString(),
  decidedAt: request.decidedAt?.toISOString() ?? null,
});

export function moneyRequestRoutes(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  const { pool } = dependencies;
  app.openapi(
    route(
      {
        operationId: 'listMoneyRequests',
        summary: 'List what denied runs ask people for',
        tag: 'Requests for money',
        access: everybody,
      },
      {
        method: 'get',
        path: '/v1/money-requests',
        request: { query: tenantQuery.extend({ runId: runIdSchema.optional(), ...pageQuery }) },
        responses: {
          200: json(
            schemas.moneyRequestsView,
            'What people are asked for and have not answered; with `runId` all of that run or conversation',
          ),
        },
      },
    ),
    async (c) => {
      const { tenantId: named, runId, cursor, limit } = c.req.valid('query');
      const tenantId = await tenantFor(c, dependencies, named);
      const [afterRequestId] = placeOf(cursor, place) ?? [];
      const { requests, hasMore } = await listMoneyRequests(pool, { tenantId, runId, afterRequestId, limit });
      const last = requests.at(-1);
      const nextCursor = cursorOf(hasMore && last ? [last.requestId] : undefined);
      return c.json({ requests: requests.map(viewOf), nextCursor }, 200);
    },
  );
  answering(app, dependencies);
}

function answering(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  const { pool } = dependencies;
  app.openapi(
    postRoute(
      {
        operationId: 'answerMoneyRequest',
        summary: 'Grant or refuse what a denied run asks for',
        tag: 'Requests for money',
        access: whoSteers,
        refuses: ['money_request_decided', 'quota_missing'],
      },
      {
        path: '/v1/money-requests/{id}',
        request: {
          params: z.object({ id: moneyRequestIdSchema }),
          body: body(schemas.moneyAnswerBody, { decision: 'grant', amountUsd: '5', author: 'Jo Doe' }),
        },
        responses: { 200: json(schemas.moneyRequestView, 'The answer is recorded') },
      },
    ),
    async (c) => {
      const asked = c.req.valid('json');
      const tenantId = await tenantFor(c, dependencies, asked.tenantId);
      const key = { tenantId, requestId: c.req.valid('param').id };
      const caller = c.get('caller');
      return once(c, dependencies, { id: key.requestId, ...asked }, async (_seed, keepWith) => {
        const { decision, amountUsd, reason } = asked;
        const expiresAt = asked.expiresAt === undefined ? undefined : expiryOf(asked.expiresAt);
        await refuseEnded(dependencies, key, asked);
        const taken = await answerMoneyRequest(pool, key, {
          ...{ decision, amountUsd, reason, expiresAt },
          ...{ by: operatorOf(caller, asked.author), role: caller.role },
          keepWith: (client, request) => keepWith(client, { status: 200, body: viewOf(request) }),
        });
        if (!taken) throw new ApiError('not_found', `There is no request for money ${key.requestId}.`);
        if ('code' in taken) throw new ApiError(taken.code, taken.message);
        await signal(dependencies, key, taken.request);
        return { status: 200, body: viewOf(taken.request) };
      });
    },
  );
}

/**
 * A workflow that has ended, or was told to, waits for nothing, whatever is on record of it yet: nobody is to grant what nobody uses.
 * @throws ApiError `money_request_decided` where a grant would come too late.
 */
async function refuseEnded(
  { pool, temporal }: ApiDependencies,
  key: { tenantId: string; requestId: string },
  { decision }: schemas.MoneyAnswerBody,
): Promise<void> {
  const request = await findMoneyRequest(pool, key);
  if (decision === 'refuse' || request?.status !== 'pending') return;
  const { workflowId } = request;
  // Where Temporal does not answer the grant is recorded, and found by who waits.
  const over = await whyOver(temporal, workflowId);
  if (over)
    throw new ApiError(
      'money_request_decided',
      `The workflow ${workflowId} ${over}, and waits for no answer any more. Nothing was granted.`,
    );
}

/**
 * What is recorded stands; a workflow that does not hear of it now is told by upkeep, or looks by itself later. When it asks for what was granted,
 * those behind it are looked at, in their order; where it cannot be told they are at once.
 */
async function signal(
  { pool, temporal, log, authority }: ApiDependencies,
  key: { tenantId: string; requestId: string },
  { workflowId }: MoneyRequest,
): Promise<void> {
  try {
    await answeredBy(temporal, () => temporal.workflow.getHandle(workflowId).signal(moneyFreedSignal));
    await noteSignalled(pool, key);
  } catch (error) {
    authority.reload(key.tenantId);
    log.warn({ ...key, workflowId, error }, 'an answer to a request for money could not be signalled');
  }
}
