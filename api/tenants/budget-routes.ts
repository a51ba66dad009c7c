/** The routes by which operators say what a tenant may spend. Each takes effect on the next decision. */
import type { OpenAPIHono } from '@hono/zod-openapi';
import { freeze, setPolicy, setUserDefaults, topUp, unfreeze } from '../../store/operator-changes';
import { passesColumn, type PoolClient } from '../../store/pool';
import type { ApiDependencies } from '../http/context';
import { ApiError } from '../http/errors';
import { json } from '../http/openapi';
import type { ApiEnv } from '../http/request';
import { ordering, orders, type CarryOut } from './orders';
import * as schemas from './schemas';

export function budgetRoutes(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  const order = orders(dependencies);
  limitRoutes(app, dependencies, order);
  defaultRoutes(app, dependencies, order);
}

/** What may be spent, and what happens when it may not. */
function limitRoutes(app: OpenAPIHono<ApiEnv>, { pool }: ApiDependencies, order: CarryOut): void {
  app.openapi(
    ordering(
      ['topups', 'topUpBudget', 'Lift a limit until its period ends'],
      schemas.topUpBody,
      json(schemas.topUpView, 'The limit is lifted until the period ends'),
    ),
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
  app.openapi(
    ordering(
      ['freeze', 'freezeBudget', 'Have a tenant or a user reserve nothing more'],
      schemas.freezeBody,
      json(schemas.frozenView, 'Nothing more is reserved'),
    ),
    (c) => {
      const asked = c.req.valid('json');
      return order(c, { param: c.req.valid('param'), body: asked }, async ({ tenantId, by }) => {
        const { userId, reason } = asked;
        await freeze(pool, { tenantId, by, userId, reason });
        return { tenantId, userId, frozen: true };
      });
    },
  );
  app.openapi(
    ordering(
      ['unfreeze', 'unfreezeBudget', 'Have a tenant or a user reserve again'],
      schemas.unfreezeBody,
      json(schemas.frozenView, 'Reserving goes on'),
    ),
    (c) => {
      const asked = c.req.valid('json');
      return order(c, { param: c.req.valid('param'), body: asked }, async ({ tenantId, by }) => {
        const { userId } = asked;
        await unfreeze(pool, { tenantId, by, userId });
        return { tenantId, userId, frozen: false };
      });
    },
  );
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
        await setPolicy(pool, { tenantId, by, policy });
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
        await setUserDefaults(pool, { tenantId, by, defaults: asked.quotas });
        return { tenantId, quotas: asked.quotas };
      });
    },
  );
}
