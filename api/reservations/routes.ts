/** The routes under /v1/reservations. */
import { z, type OpenAPIHono } from '@hono/zod-openapi';
import { parseAmountUsd } from '../../core/money';
import { omitUndefined } from '../../core/omit-undefined';
import type { Role } from '../../core/roles';
import type { OperationKey } from '../../store/reservations';
import { everybody, whoSpends, whoTellsCosts } from '../http/access';
import { tenantFor, type ApiDependencies } from '../http/context';
import { once } from '../http/idempotency';
import { operationIdSchema } from '../http/ids';
import { body, denied, json, postRoute, route, type Described } from '../http/openapi';
import { clientGone, type ApiContext, type ApiEnv } from '../http/request';
import { tenantQuery } from '../http/schemas';
import * as schemas from './schemas';
import * as reservations from './service';
import { termsOf } from './told-costs';

const params = z.object({ operationId: operationIdSchema });

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
    postRoute(
      {
        operationId: 'reserve',
        summary: 'Reserve money for a call',
        tag: 'Reservations',
        access: whoSpends,
        refuses: [
          'quota_missing',
          'operation_conflict',
          'operation_released',
          'run_limit_exceeded',
          'run_limit_conflict',
          'envelope_exceeded',
          'envelope_refused',
        ],
      },
      {
        path: '/v1/reservations',
        request: {
          body: body(schemas.reserveBody, {
            operationId: '0b6c2a52-6d0a-4b52-9c1e-2f6a52a1b7c4',
            resource: 'llm',
            amountUsd: '0.25',
          }),
        },
        responses: { 201: json(schemas.grantView, 'Granted; in part when `partial` is true'), ...denied },
      },
    ),
    async (c) => {
      const asked = c.req.valid('json');
      const tenantId = await tenantFor(c, dependencies, asked.tenantId, { remembered: true });
      return once(c, dependencies, asked, async () => ({
        status: 201,
        body: await reservations.reserve(dependencies, {
          ...{ tenantId, body: asked, keyLabels: c.get('caller').labels },
          ...whoWaits(c),
        }),
      }));
    },
  );
  app.openapi(
    route(
      { operationId: 'getReservation', summary: 'Show a reservation', tag: 'Reservations', access: everybody },
      {
        method: 'get',
        path: '/v1/reservations/{operationId}',
        request: { params, query: tenantQuery },
        responses: { 200: json(schemas.shownReservation, 'The reservation as it stands') },
      },
    ),
    async (c) => {
      const tenantId = await tenantFor(c, dependencies, c.req.valid('query').tenantId);
      const { operationId } = c.req.valid('param');
      return c.json(await reservations.show(dependencies, { tenantId, operationId }), 200);
    },
  );
  endings(app, dependencies);
}

/** What is done with one reservation, to its end. */
function endings(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  app.openapi(
    ending(
      ['claim', 'claimReservation', 'Claim a reservation, so that its call may be made'],
      schemas.claimBody,
      json(schemas.claimView, 'Claimed: the call may be made'),
      { refuses: ['claim_refused', 'envelope_refused'] },
    ),
    (c) =>
      end(c, c.req.valid('param'), c.req.valid('json'), async (key, claimToken) => {
        // A repeat of a claim whose answer was lost is told the same token.
        await reservations.claim(dependencies, { ...key, claimToken });
        return { operationId: key.operationId, claimToken };
      }),
  );
  app.openapi(
    ending(
      ['commit', 'commitReservation', 'Record what the call cost'],
      schemas.commitBody,
      json(schemas.committedView, 'Recorded'),
      {
        example: { costUsd: '0.1834' },
        access: whoTellsCosts,
        refuses: ['claim_refused', 'operation_conflict', 'cost_unconfirmed', 'envelope_refused'],
      },
    ),
    async (c) => {
      const asked = c.req.valid('json');
      const { needed, confirmed } = termsOf(c, asked);
      return end(c, c.req.valid('param'), asked, ({ tenantId, operationId }) => {
        const { costUsd, claimToken, usage, unreserved } = asked;
        const item = {
          operationId,
          costUsd: parseAmountUsd(costUsd),
          ...needed,
          ...omitUndefined({ claimToken, usage: keptUsage(usage) }),
        };
        return reservations.commit(dependencies, {
          ...{ tenantId, item, unreserved, confirmed },
          keyLabels: c.get('caller').labels,
        });
      });
    },
  );
  app.openapi(
    ending(
      ['release', 'releaseReservation', 'Give back what was granted'],
      schemas.releaseBody,
      json(schemas.releasedView, 'Released'),
      { refuses: ['claim_refused', 'operation_conflict'] },
    ),
    (c) => {
      const asked = c.req.valid('json');
      return end(c, c.req.valid('param'), asked, ({ tenantId, operationId }) =>
        reservations.release(dependencies, {
          tenantId,
          item: { operationId, ...omitUndefined({ claimToken: asked.claimToken }) },
        }),
      );
    },
  );
  app.openapi(
    ending(
      ['extend', 'extendReservation', 'Hold for longer'],
      schemas.extendBody,
      json(schemas.extendedView, 'Held for longer'),
      { refuses: ['claim_refused'] },
    ),
    (c) => {
      const asked = c.req.valid('json');
      return end(c, c.req.valid('param'), asked, (key) =>
        reservations.extend(dependencies, { ...key, ttlSeconds: asked.ttlSeconds }),
      );
    },
  );

  async function end<B extends object>(
    c: ApiContext,
    { operationId }: { operationId: string },
    asked: { tenantId?: string | undefined },
    work: (key: OperationKey, seed: string) => Promise<B>,
  ) {
    const tenantId = await tenantFor(c, dependencies, asked.tenantId, { remembered: true });
    return once(c, dependencies, asked, async (seed) => ({
      status: 200,
      body: await work({ tenantId, operationId }, seed),
    }));
  }
}

/** A POST on one reservation. */
const ending = <V extends string, S extends z.ZodType, A extends ReturnType<typeof json>>(
  [verb, operationId, summary]: [V, string, string],
  schema: S,
  answer: A,
  {
    example,
    access = whoSpends,
    refuses,
  }: Pick<Described, 'refuses'> & { example?: z.input<S>; access?: readonly Role[] },
) =>
  postRoute(
    { operationId, summary, tag: 'Reservations', access, ...omitUndefined({ refuses }) },
    {
      path: `/v1/reservations/{operationId}/${verb}`,
      request: { params, body: body(schema, example) },
      responses: { 200: answer },
    },
  );
