/** The routes that make a tenant, and show and set its quotas. */
import type { OpenAPIHono } from '@hono/zod-openapi';
import { limitsCovered, toolsMoved } from '../../core/budget/covered';
import { labelOfScope } from '../../core/budget/quotas';
import { readBudget } from '../../store/budget';
import { keyFrom, orderApiKey } from '../../store/api-keys';
import { sqlState, type Pool } from '../../store/pool';
import { ValueBeyondError } from '../../store/label-quotas';
import { scopeIdsOf, type QuotaKey } from '../../store/quota-key';
import { setQuotas, type Payers } from '../../store/quotas';
import { firstKeyRole, orderTenant, tenantExists } from '../../store/tenants';
import { administrationAlone, everybody, whoSteers } from '../http/access';
import { operatorOf, tenantFor, type ApiDependencies } from '../http/context';
import { ApiError } from '../http/errors';
import { once } from '../http/idempotency';
import { body, idParam, json, postRoute, route } from '../http/openapi';
import { bearerOf, type ApiEnv } from '../http/request';
import { isSameQuota, quotaKeyOf } from './quota-key';
import { showQuota } from './quota-view';
import * as schemas from './schemas';

/** The users and labels that quotas are of. */
function payersOf(quotas: readonly QuotaKey[]): Payers {
  const labels = scopeIdsOf('label', quotas).map((scopeId) => Object.fromEntries([labelOfScope(scopeId)]));
  return { userIds: scopeIdsOf('user', quotas), labels };
}

function refuseBeyond(error: unknown): never {
  if (!(error instanceof ValueBeyondError)) throw error;
  const [key, value] = labelOfScope(error.scopeId);
  throw new ApiError(
    'invalid_request',
    `scopeId: ${key} has had 1,000 values before ${value}, whose costs are on record as other with those of all that came after them. Nothing was changed.`,
    { action: `Limit ${key}:other, which is all of those together, or each value of ${key} by a default.` },
  );
}

/** The quotas of a tenant, and who of it is frozen. */
async function budgetOf(pool: Pool, tenantId: string, payers?: Payers) {
  const { quotas, shadowQuotas, ...rest } = await readBudget(pool, tenantId, payers);
  return { tenantId, quotas: quotas.map(showQuota), shadowQuotas: shadowQuotas.map(showQuota), ...rest };
}

export function tenantRoutes(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  const { pool } = dependencies;
  quotaRoutes(app, dependencies);
  app.openapi(
    postRoute(
      {
        operationId: 'createTenant',
        summary: 'Make a tenant and its first key',
        tag: 'Tenants',
        access: administrationAlone,
        refuses: ['tenant_exists'],
      },
      {
        path: '/v1/tenants',
        request: {
          body: body(schemas.createTenantBody, { tenantId: 'acme', name: 'Acme' }),
        },
        responses: { 201: json(schemas.newTenantView, 'The tenant, its quotas, and its API key, which is shown once') },
      },
    ),
    (c) => {
      const asked = c.req.valid('json');
      const { tenantId, name } = asked;
      const by = operatorOf(c.get('caller'));
      const keyOf = (seed: string): string => keyFrom(bearerOf(c) ?? '', seed);
      const make = async (seed: string) => {
        if ((await orderTenant(pool, { tenantId, name, by, key: keyOf(seed) })) === 'exists')
          throw await thereAlready(pool, tenantId);
        const { quotas } = await budgetOf(pool, tenantId);
        return { status: 201 as const, body: { tenantId, name: name ?? '', quotas } };
      };
      // A repeat that comes with another key than the request before it is shown a key of its own.
      return once(c, dependencies, asked, make, async (seed) => {
        const apiKey = keyOf(seed);
        const order = { tenantId, by, role: firstKeyRole, key: apiKey, label: 'made with the tenant' };
        const { role } = await orderApiKey(pool, order).catch((error: unknown) => {
          if (sqlState(error) !== '23503') throw error;
          throw new ApiError('unknown_tenant', `The tenant ${tenantId} was deleted since. Nothing was done.`);
        });
        return { apiKey, role };
      });
    },
  );
}

/** Why an id is taken: by a tenant, or by one that was deleted and whose share of the platform's quotas still counts. */
async function thereAlready(pool: Pool, tenantId: string): Promise<ApiError> {
  if (await tenantExists(pool, tenantId))
    return new ApiError('tenant_exists', `There is a tenant ${tenantId} already. Nothing was changed.`);
  return new ApiError(
    'tenant_exists',
    `The tenant ${tenantId} was deleted, and what it spent still counts for the platform: its id is free again when the period of the platform’s quotas is over. Nothing was changed.`,
    { action: 'Choose another id, or wait until the period is over.' },
  );
}

function quotaRoutes(app: OpenAPIHono<ApiEnv>, dependencies: ApiDependencies): void {
  const { pool } = dependencies;
  const quotas = json(schemas.quotasView, 'The quotas of the tenant, and who is frozen');
  const path = '/v1/tenants/{id}/quotas';
  const params = idParam('The tenant');
  app.openapi(
    route(
      { operationId: 'listQuotas', summary: 'Show what a tenant may spend', tag: 'Budgets', access: everybody },
      {
        method: 'get',
        path,
        request: { params, query: schemas.quotasQuery },
        responses: { 200: quotas },
      },
    ),
    async (c) => {
      const tenantId = await tenantFor(c, dependencies, c.req.valid('param').id);
      const { userId, label } = c.req.valid('query');
      const payers = { userIds: userId === undefined ? [] : [userId], labels: label === undefined ? [] : [label] };
      return c.json(await budgetOf(pool, tenantId, userId === undefined && !label ? undefined : payers), 200);
    },
  );
  app.openapi(
    route(
      {
        operationId: 'setQuotas',
        summary: 'Set what a tenant and its users may spend',
        tag: 'Budgets',
        access: whoSteers,
      },
      {
        method: 'put',
        path,
        request: {
          params,
          body: body(schemas.setQuotasBody, {
            quotas: [{ resourceType: 'all', period: 'month', limitUsd: '100' }],
            reason: 'The budget of this year',
            author: 'Jo Doe',
          }),
        },
        responses: { 200: json(schemas.setQuotasView, 'The quotas after the change') },
      },
    ),
    async (c) => {
      const tenantId = await tenantFor(c, dependencies, c.req.valid('param').id);
      const { quotas: asked, reason, author } = c.req.valid('json');
      const changes = asked.map((quota) => ({ ...quota, ...quotaKeyOf(tenantId, quota) }));
      const { quotas: before } = await readBudget(pool, tenantId, {});
      await setQuotas(pool, { tenantId, changes, reason, ...operatorOf(c.get('caller'), author) }).catch(refuseBeyond);
      dependencies.authority.reload(tenantId);
      const payers = payersOf(changes);
      const budget = await budgetOf(
        pool,
        tenantId,
        changes.every(({ scope }) => scope === 'tenant') ? undefined : payers,
      );
      const { quotas: own } = await readBudget(pool, tenantId, payers);
      const covered = limitsCovered(own, (quota) =>
        changes.some((changed) => changed.enforced !== false && isSameQuota(changed, quota)),
      );
      const warnings = [...covered, ...toolsMoved(before, own)];
      return c.json({ ...budget, warnings }, 200);
    },
  );
}
