/** The routes by which operators say which limits bind: one that is only watched, one that binds no more, one that is removed. */
import type { OpenAPIHono, z } from '@hono/zod-openapi';
import { leftUncovered, leftUncoveredOfUser, toolsMoved } from '../../core/budget/covered';
import { readBudget } from '../../store/budget';
import { setEnforced, type ChangedLimit } from '../../store/enforcing';
import { removeQuota } from '../../store/operator-changes';
import type { Pool, PoolClient } from '../../store/pool';
import type { QuotaKey } from '../../store/quota-key';
import type { ApiDependencies } from '../http/context';
import { json } from '../http/openapi';
import type { ApiContext, ApiEnv } from '../http/request';
import { ordering, type CarryOut } from './orders';
import { noneSet } from './none-set';
import { isSameQuota, quotaKeyOf } from './quota-key';
import * as schemas from './schemas';

export function bindingRoutes(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies, order: CarryOut): void {
  removalRoute(app, dependencies, order);
  enforcementRoutes(app, dependencies, order);
}

/** What a change of the limits that bind means for what they do not cover any more, and for tools. */
async function warningsOf(
  pool: Pool,
  tenantId: string,
  changed: { with: QuotaKey } | { without: QuotaKey },
): Promise<string[]> {
  const { scope, scopeId } = 'without' in changed ? changed.without : changed.with;
  const { quotas: before } = await readBudget(pool, tenantId, scope === 'user' ? { userIds: [scopeId] } : {});
  const after =
    'with' in changed ? [...before, changed.with] : before.filter((quota) => !isSameQuota(changed.without, quota));
  const gone = 'without' in changed ? before.find((quota) => isSameQuota(changed.without, quota)) : undefined;
  const lost = gone && gone.topupUsd !== '0' ? [`What it was topped up by, ${gone.topupUsd} USD, goes with it.`] : [];
  const ofUser = scope === 'user' ? leftUncoveredOfUser(scopeId, before, after) : [];
  return [...lost, ...leftUncovered(before, after), ...ofUser, ...toolsMoved(before, after)];
}

function removalRoute(app: OpenAPIHono<ApiEnv>, { pool }: ApiDependencies, order: CarryOut): void {
  app.openapi(
    ordering(
      ['quotas/remove', 'removeQuota', 'Remove a limit for good'],
      schemas.removeQuotaBody,
      json(schemas.removedQuotaView, 'It binds nobody any more; what was spent stays in the ledger'),
      { refuses: ['quota_missing'] },
    ),
    (c) => {
      const asked = c.req.valid('json');
      return order(c, { param: c.req.valid('param'), body: asked }, async ({ tenantId, by, keepAnswer }) => {
        const quota = quotaKeyOf(tenantId, asked);
        const warnings = asked.enforced === false ? [] : await warningsOf(pool, tenantId, { without: quota });
        const answer = { tenantId, ...quota, removed: true as const, warnings };
        const keepWith = (client: PoolClient): Promise<void> => keepAnswer(client, answer);
        const named = { ...quota, enforced: asked.enforced };
        if (await removeQuota(pool, { tenantId, by, quota: named, reason: asked.reason, keepWith })) return answer;
        throw await noneSet(pool, tenantId, quota, asked.enforced === false);
      });
    },
  );
}

/** Whether a limit binds. */
function enforcementRoutes(app: OpenAPIHono<ApiEnv>, { pool }: ApiDependencies, order: CarryOut): void {
  const carryOut = (c: ApiContext, enforced: boolean, { param, body }: EnforcementAsked) =>
    order(c, { param, body }, async ({ tenantId, by, keepAnswer }) => {
      const quota = quotaKeyOf(tenantId, body);
      const warnings = await warningsOf(pool, tenantId, enforced ? { with: quota } : { without: quota });
      const answer = (changed: ChangedLimit) => ({ tenantId, ...quota, ...changed, enforced, warnings });
      const keepWith = (client: PoolClient, changed: ChangedLimit): Promise<void> =>
        keepAnswer(client, answer(changed));
      const changed = await setEnforced(pool, { tenantId, by, quota, enforced, reason: body.reason, keepWith });
      if (changed) return answer(changed);
      throw await noneSet(pool, tenantId, quota, enforced);
    });
  app.openapi(
    ordering(
      ['quotas/enforce', 'enforceQuota', 'Have a watched limit bind'],
      schemas.enforcementBody,
      json(schemas.enforcementView, 'It binds from the next decision on, in the place of one that was there'),
      { refuses: ['quota_missing'] },
    ),
    (c) => carryOut(c, true, { param: c.req.valid('param'), body: c.req.valid('json') }),
  );
  app.openapi(
    ordering(
      ['quotas/watch', 'watchQuota', 'Have a limit bind no more and be watched'],
      schemas.enforcementBody,
      json(schemas.enforcementView, 'It refuses nothing from the next decision on, and counts and raises alerts'),
      { refuses: ['quota_missing'] },
    ),
    (c) => carryOut(c, false, { param: c.req.valid('param'), body: c.req.valid('json') }),
  );
}
interface EnforcementAsked {
  param: { id: string };
  body: z.output<typeof schemas.enforcementBody>;
}
