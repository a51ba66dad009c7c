/**
 * What operators steer: written with its audit entry in one transaction, under the locks of a decision, so that the next
 * decision sees it.
 */
import type { Period } from '../core/budget/periods';
import type { ResourceType } from '../core/budget/quotas';
import { omitUndefined } from '../core/omit-undefined';
import { change, type WithReason } from './change';
import { asTenant, type Pool, type PoolClient } from './pool';
import type { Operator } from './operator';
import { beginPeriods } from './quotas';
import { storedScope, type QuotaChange, type QuotaKey } from './quota-key';
import { refuseTooManyResources } from './resources';
import type { TenantPolicy } from './tenants';

/** How many top-ups of one quota expire by themselves at most: each decision of it reads them. */
const expiringTopUpsMax = 50;

export class TooManyTopUpsError extends Error {
  constructor() {
    super(`${expiringTopUpsMax} top-ups of this limit expire by themselves already, as many as there may be`);
  }
}

/** Notes in a quota's row that the amount $6 expires at $7. */
const addExpiring = `,
         topup_expires_at = least(q.topup_expires_at, $7::timestamptz),
         expiring_topups = (
           SELECT jsonb_agg(t.one ORDER BY (t.one ->> 'expiresAt')::timestamptz)
           FROM jsonb_array_elements(coalesce(q.expiring_topups, '[]')
             || jsonb_build_object('amountUsd', $6::numeric::text, 'expiresAt', $7::timestamptz)) AS t (one))`;

/**
 * Lifts a quota's limit until its period ends, a lifetime's for good; or until a moment that is said, in this period or a later one. False when
 * there is no such quota. @throws TooManyTopUpsError where as many as may be expire by themselves already.
 */
export async function topUp(
  pool: Pool,
  order: {
    tenantId: string;
    by: Operator;
    quota: QuotaKey;
    amountUsd: string;
    expiresAt?: string | undefined;
    reason: string;
    /** The last statement of the transaction: each time would lift it again. */
    keepWith?: (client: PoolClient) => Promise<void>;
  },
): Promise<boolean> {
  const { tenantId, by, quota, amountUsd, expiresAt, reason, keepWith } = order;
  const userIds = quota.scope === 'user' ? [quota.scopeId] : [];
  const details = { ...quota, amountUsd, ...omitUndefined({ expiresAt }), reason };
  const lifting = { tenantId, by, action: 'top_up', details, userIds, finish: keepWith };
  const done = await change(pool, lifting, async (client) => {
    return (await lift(client, { tenantId, quota, amountUsd, expiresAt })) || undefined;
  });
  return done ?? false;
}

/** The same within the transaction of a change. */
export async function lift(
  client: PoolClient,
  {
    tenantId,
    quota,
    amountUsd,
    expiresAt,
  }: { tenantId: string; quota: QuotaKey; amountUsd: string; expiresAt?: string | undefined },
): Promise<boolean> {
  await beginPeriods(client, tenantId, [quota]);
  const { rows } = await client.query<{ full: boolean }>(
    `UPDATE copilot_internal.cost_quotas q SET topup_usd = q.topup_usd + $6::numeric, updated_at = clock_timestamp()${expiresAt === undefined ? '' : addExpiring}
     WHERE tenant_id = $1 AND scope = $2 AND scope_id = $3 AND resource_type = $4 AND period = $5
     RETURNING ${expiresAt === undefined ? 'false' : 'jsonb_array_length(expiring_topups) > $8'} AS full`,
    [
      ...[tenantId, quota.scope, quota.scopeId, quota.resourceType, quota.period, amountUsd],
      ...(expiresAt === undefined ? [] : [expiresAt, expiringTopUpsMax]),
    ],
  );
  if (rows[0]?.full) throw new TooManyTopUpsError();
  return rows.length > 0;
}

/** Removes a quota for good. False when there is none there, or only a default of the tenant's users or labels. */
export async function removeQuota(
  pool: Pool,
  order: {
    tenantId: string;
    by: Operator;
    quota: QuotaKey & Pick<QuotaChange, 'enforced'>;
    reason: string;
    /** The last statement of the transaction: a repeat finds nothing to remove. */
    keepWith?: (client: PoolClient) => Promise<void>;
  },
): Promise<boolean> {
  const { tenantId, by, quota, reason, keepWith } = order;
  const details: Record<string, unknown> = { ...quota, reason };
  const userIds = quota.scope === 'user' ? [quota.scopeId] : [];
  const removing = { tenantId, by, action: 'remove_quota', details, userIds, finish: keepWith };
  const done = await change(pool, removing, async (client) => {
    const { rows } = await client.query<{ removed: object | null }>(
      'SELECT copilot_internal.remove_quota($1, $2, $3, $4, $5) AS removed',
      [tenantId, storedScope(quota), quota.scopeId, quota.resourceType, quota.period],
    );
    details.removed = rows[0]?.removed;
    return rows[0]?.removed ? true : undefined;
  });
  return done ?? false;
}

export async function setPolicy(
  pool: Pool,
  { tenantId, by, policy, reason }: { tenantId: string; by: Operator; policy: TenantPolicy } & WithReason,
): Promise<void> {
  await change(pool, { tenantId, by, action: 'set_policy', details: { ...policy, reason } }, (client) =>
    client.query(
      'UPDATE copilot_internal.tenants SET on_unavailable = $2, answer_timeout_ms = $3 WHERE tenant_id = $1',
      [tenantId, policy.onUnavailable, policy.answerTimeoutMs],
    ),
  );
}

/** What a user gets whom nobody has named before. */
export interface UserDefault {
  resourceType: ResourceType;
  period: Period;
  limitUsd: string;
  warningThreshold: number;
}

/** What a tenant's new users get. */
export async function readUserDefaults(pool: Pool, tenantId: string): Promise<UserDefault[]> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<UserDefault>(
      `SELECT resource_type AS "resourceType", period, trim_scale(limit_usd)::text AS "limitUsd",
              warning_threshold::float8 AS "warningThreshold"
       FROM copilot_internal.user_quota_defaults WHERE tenant_id = $1 ORDER BY resource_type, period`,
      [tenantId],
    );
    return rows;
  });
}

/** Sets the defaults of a tenant's users, also for those who have them already, and takes away what is none any more; quotas set for a user himself stay. */
export async function setUserDefaults(
  pool: Pool,
  { tenantId, by, defaults, reason }: { tenantId: string; by: Operator; defaults: readonly UserDefault[] } & WithReason,
): Promise<void> {
  await change(pool, { tenantId, by, action: 'set_user_defaults', details: { defaults, reason } }, async (client) => {
    await client.query('SELECT copilot_internal.reset_ended_periods($1, clock_timestamp())', [tenantId]);
    await client.query('DELETE FROM copilot_internal.user_quota_defaults WHERE tenant_id = $1', [tenantId]);
    for (const { resourceType, period, limitUsd, warningThreshold } of defaults) {
      const values = [tenantId, resourceType, period, limitUsd, warningThreshold];
      await client.query(
        `INSERT INTO copilot_internal.user_quota_defaults (tenant_id, resource_type, period, limit_usd, warning_threshold)
         VALUES ($1, $2, $3, $4, $5)`,
        values,
      );
      await client.query(
        `UPDATE copilot_internal.cost_quotas SET limit_usd = $4, warning_threshold = $5, updated_at = clock_timestamp()
         WHERE tenant_id = $1 AND scope = 'user' AND from_default AND resource_type = $2 AND period = $3`,
        values,
      );
    }
    await client.query('SELECT copilot_internal.remove_former_defaults($1)', [tenantId]);
    await refuseTooManyResources(client, tenantId);
    return true;
  });
}

export interface Adjustment {
  operationId: string;
  costUsd: string;
  reason: string;
}

/**
 * Corrects what an operation cost, by an entry of the difference; an unverified settlement counts as known from then on.
 * Answers the difference as a decimal string; undefined when the operation has no settled cost.
 */
export async function adjustCost(
  pool: Pool,
  {
    tenantId,
    by,
    adjustment,
    keepWith,
  }: {
    tenantId: string;
    by: Operator;
    adjustment: Adjustment;
    /** The last statement of the transaction: one that comes late would undo a later correction. */
    keepWith?: (client: PoolClient, differenceUsd: string) => Promise<void>;
  },
): Promise<string | undefined> {
  const { operationId, costUsd, reason } = adjustment;
  const adjusting = { tenantId, by, action: 'adjust_cost', details: adjustment, finish: keepWith };
  return change(pool, adjusting, async (client) => {
    const { rows } = await client.query<{ difference: string | null }>(
      'SELECT trim_scale(copilot_internal.adjust_cost($1, $2, $3, $4, $5))::text AS difference',
      [tenantId, operationId, costUsd, reason, by.author],
    );
    return rows[0]?.difference ?? undefined;
  });
}

/** Notes what was done to a tenant by other means. */
export async function noteInAudit(
  pool: Pool,
  { tenantId, by, action, details }: { tenantId: string; by: Operator; action: string; details: object },
): Promise<void> {
  await change(pool, { tenantId, by, action, details }, () => Promise.resolve(true));
}

/**
 * Notes that an operator vouched for what an operation cost, and what it was granted: once, however often the order is repeated.
 * False where that was noted before.
 */
export async function noteConfirmedCost(
  pool: Pool,
  {
    tenantId,
    by,
    operationId,
    costUsd,
    reason,
  }: { tenantId: string; by: Operator } & Omit<Adjustment, 'reason'> & WithReason,
): Promise<boolean> {
  const details: Record<string, unknown> = { operationId, costUsd, reason };
  const noted = await change(pool, { tenantId, by, action: 'confirm_cost', details }, async (client) => {
    const { rows } = await client.query<{ grantedUsd: string }>(
      `SELECT trim_scale(granted_usd)::text AS "grantedUsd" FROM copilot_internal.reservations r
       WHERE tenant_id = $1 AND operation_id = $2 AND NOT EXISTS (
         SELECT FROM copilot_internal.audit_entries
         WHERE tenant_id = $1 AND action = 'confirm_cost' AND details ->> 'operationId' = r.operation_id::text)`,
      [tenantId, operationId],
    );
    details.grantedUsd = rows[0]?.grantedUsd;
    return rows[0] && true;
  });
  return noted === true;
}

/** A tenant in a list of them. */
export interface TenantSummary {
  tenantId: string;
  name: string;
  frozenReason: string | null;
  limitUsd: string | null;
  spentUsd: string | null;
  reservedUsd: string | null;
  createdAt: Date;
}

/** Every tenant with its monthly `all` quota, by name, or some of them. Administration's look across tenants: see `list_tenants` in migrations/functions. */
export async function listTenants(
  pool: Pool,
  { after, limit }: { after?: string | undefined; limit?: number } = {},
): Promise<TenantSummary[]> {
  const { rows } = await pool.query<TenantSummary>(
    `SELECT tenant_id AS "tenantId", name, frozen_reason AS "frozenReason", trim_scale(limit_usd)::text AS "limitUsd",
            trim_scale(spent_usd)::text AS "spentUsd", trim_scale(reserved_usd)::text AS "reservedUsd", created_at AS "createdAt"
     FROM copilot_internal.list_tenants() WHERE $1::text IS NULL OR tenant_id > $1 ORDER BY tenant_id LIMIT $2`,
    [after ?? null, limit ?? null],
  );
  return rows;
}
