/** The routes by which operators say what a tenant may spend. Each takes effect on the next decision. */
import type { OpenAPIHono, z } from '@hono/zod-openapi';
import { setFrozen, type FrozenBefore } from '../../store/freezes';
import { readLabelDefaults, setLabelDefaults } from '../../store/label-quotas';
import { readUserDefaults, setPolicy, setUserDefaults, TooManyTopUpsError, topUp } from '../../store/operator-changes';
import { passesColumn, type PoolClient } from '../../store/pool';
import { readPolicy } from '../../store/tenants';
import { everybody } from '../http/access';
import { tenantFor, type ApiDependencies } from '../http/context';
import { ApiError } from '../http/errors';
import { json, route } from '../http/openapi';
import type { ApiContext, ApiEnv } from '../http/request';
import { bindingRoutes } from './binding-routes';
import { expiryOf } from './expiry';
import { ordering, orders, params, type CarryOut } from './orders';
import { noneSet } from './none-set';
import { quotaKeyOf } from './quota-key';
import * as schemas from './schemas';

export function budgetRoutes(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  const order = orders(dependencies);
  limitRoutes(app, dependencies, order);
  freezeRoutes(app, dependencies, order);
  bindingRoutes(app, dependencies, order);
  defaultRoutes(app, dependencies, order);
  whatIsSet(app, dependencies);
}

/** What the orders below have set, to be read back. */
function whatIsSet(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  const { pool } = dependencies;
  app.openapi(
    route(
      {
        operationId: 'getPolicy',
        summary: 'Show what happens when the authority does not answer',
        tag: 'Budgets',
        access: everybody,
      },
      {
        method: 'get',
        path: '/v1/tenants/{id}/policy',
        request: { params },
        responses: { 200: json(schemas.policyView, 'The policy') },
      },
    ),
    async (c) => {
      const tenantId = await tenantFor(c, dependencies, c.req.valid('param').id);
      const policy = await readPolicy(pool, tenantId);
      if (!policy) throw new ApiError('unknown_tenant', `There is no tenant ${JSON.stringify(tenantId)}.`);
      return c.json({ tenantId, ...policy }, 200);
    },
  );
  app.openapi(
    route(
      { operationId: 'getUserDefaults', summary: 'Show what new users may spend', tag: 'Budgets', access: everybody },
      {
        method: 'get',
        path: '/v1/tenants/{id}/user-defaults',
        request: { params },
        responses: { 200: json(schemas.userDefaultsView, 'What new users get') },
      },
    ),
    async (c) => {
      const tenantId = await tenantFor(c, dependencies, c.req.valid('param').id);
      return c.json({ tenantId, quotas: await readUserDefaults(pool, tenantId) }, 200);
    },
  );
  app.openapi(
    route(
      {
        operationId: 'getLabelDefaults',
        summary: 'Show what each value of a label may spend',
        tag: 'Budgets',
        access: everybody,
      },
      {
        method: 'get',
        path: '/v1/tenants/{id}/label-defaults',
        request: { params },
        responses: { 200: json(schemas.labelDefaultsView, 'What each value gets that has no limit of its own') },
      },
    ),
    async (c) => {
      const tenantId = await tenantFor(c, dependencies, c.req.valid('param').id);
      return c.json({ tenantId, quotas: await readLabelDefaults(pool, tenantId) }, 200);
    },
  );
}

/** What may be spent, and what happens when it may not. */
function limitRoutes(app: OpenAPIHono<ApiEnv>, { pool }: ApiDependencies, order: CarryOut): void {
  app.openapi(
    ordering(
      ['topups', 'topUpBudget', 'Lift a limit until its period ends, or another moment'],
      schemas.topUpBody,
      json(schemas.topUpView, 'The limit is lifted'),
      { refuses: ['quota_missing'] },
    ),
    (c) => {
      const asked = c.req.valid('json');
      return order(c, { param: c.req.valid('param'), body: asked }, async ({ tenantId, by, keepAnswer }) => {
        const { amountUsd, reason } = asked;
        const expiresAt = asked.expiresAt === undefined ? undefined : expiryOf(asked.expiresAt);
        const quota = quotaKeyOf(tenantId, asked);
        const answer = { tenantId, ...quota, amountUsd, expiresAt: expiresAt ?? null };
        const keepWith = (client: PoolClient): Promise<void> => keepAnswer(client, answer);
        const isThere = await topUp(pool, { tenantId, by, quota, amountUsd, expiresAt, reason, keepWith }).catch(
          (error: unknown) => {
            if (error instanceof TooManyTopUpsError)
              throw new ApiError(
                'invalid_request',
                `${error.message}. Nothing was changed; leave expiresAt out, or wait for one to expire.`,
              );
            if (!passesColumn(error)) throw error;
            const message =
              'amountUsd: with what was added before it is more than an amount can be. Nothing was changed.';
            throw new ApiError('invalid_amount', message);
          },
        );
        if (isThere) return answer;
        throw await noneSet(pool, tenantId, quota, false);
      });
    },
  );
}

/** Who may reserve nothing for now. */
function freezeRoutes(app: OpenAPIHono<ApiEnv>, { pool }: ApiDependencies, order: CarryOut): void {
  const carryOut = (c: ApiContext, to: boolean, { param, body }: FreezeAsked) =>
    order(c, { param, body }, async ({ tenantId, by, keepAnswer }) => {
      const { userId, reason } = body;
      const answer = (before: FrozenBefore) => ({ tenantId, userId, frozen: to, ...before });
      const keepWith = (client: PoolClient, before: FrozenBefore): Promise<void> => keepAnswer(client, answer(before));
      return answer(await setFrozen(pool, { tenantId, by, userId, reason, to, keepWith }));
    });
  app.openapi(
    ordering(
      ['freeze', 'freezeBudget', 'Have a tenant or a user reserve nothing more'],
      schemas.freezeBody,
      json(schemas.frozenView, 'Nothing more is reserved'),
    ),
    (c) => carryOut(c, true, { param: c.req.valid('param'), body: c.req.valid('json') }),
  );
  app.openapi(
    ordering(
      ['unfreeze', 'unfreezeBudget', 'Have a tenant or a user reserve again'],
      schemas.unfreezeBody,
      json(schemas.frozenView, 'Reserving goes on'),
    ),
    (c) => carryOut(c, false, { param: c.req.valid('param'), body: c.req.valid('json') }),
  );
}
interface FreezeAsked {
  param: { id: string };
  body: z.output<typeof schemas.unfreezeBody>;
}

/** What holds where nobody said otherwise. */
function defaultRoutes(app: OpenAPIHono<ApiEnv>, { pool }: ApiDependencies, order: CarryOut): void {
  app.openapi(
    ordering(
      ['policy', 'setPolicy', 'Set what happens when the authority does not answer'],
      schemas.policyBody,
      json(schemas.policyView, 'What happens when the authority does not answer'),
    ),
    (c) => {
      const asked = c.req.valid('json');
      return order(c, { param: c.req.valid('param'), body: asked }, async ({ tenantId, by }) => {
        const policy = { onUnavailable: asked.onUnavailable, answerTimeoutMs: asked.answerTimeoutMs };
        await setPolicy(pool, { tenantId, by, policy, reason: asked.reason });
        return { tenantId, ...policy };
      });
    },
  );
  app.openapi(
    ordering(
      ['user-defaults', 'setUserDefaults', 'Set what new users may spend'],
      schemas.userDefaultsBody,
      json(schemas.userDefaultsView, 'What new users get'),
    ),
    (c) => {
      const asked = c.req.valid('json');
      return order(c, { param: c.req.valid('param'), body: asked }, async ({ tenantId, by }) => {
        await setUserDefaults(pool, { tenantId, by, defaults: asked.quotas, reason: asked.reason });
        return { tenantId, quotas: asked.quotas };
      });
    },
  );
  app.openapi(
    ordering(
      ['label-defaults', 'setLabelDefaults', 'Set what each value of a label may spend'],
      schemas.labelDefaultsBody,
      json(schemas.labelDefaultsView, 'What each value gets that has no limit of its own'),
      { example: { quotas: [{ key: 'team', resourceType: 'all', period: 'day', limitUsd: '5' }] } },
    ),
    (c) => {
      const asked = c.req.valid('json');
      return order(c, { param: c.req.valid('param'), body: asked }, async ({ tenantId, by }) => {
        await setLabelDefaults(pool, { tenantId, by, defaults: asked.quotas, reason: asked.reason });
        return { tenantId, quotas: asked.quotas };
      });
    },
  );
}
