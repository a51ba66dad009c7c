/** Limits that bind, and those that are only watched: the one becomes the other by an operator's order. */
import { omitUndefined } from '../core/omit-undefined';
import { change } from './change';
import { setLabelQuota, sumOfLabels } from './label-quotas';
import type { Operator } from './operator';
import type { Pool, PoolClient } from './pool';
import { storedScope, type QuotaChange, type QuotaKey } from './quota-key';
import { beginPeriods, setQuota } from './quotas';
import { refuseTooManyResources } from './resources';

/** What becomes of a limit: it binds from the next decision on, or it is only watched. */
interface Order {
  tenantId: string;
  by: Operator;
  quota: QuotaKey;
  enforced: boolean;
  reason: string;
  /** The last statement of the transaction: a repeat finds nothing to change. */
  keepWith?: (client: PoolClient, changed: ChangedLimit) => Promise<void>;
}

/** A limit as it is from now on, in US dollars. */
export interface ChangedLimit {
  limitUsd: string;
  /** What it is topped up by until its period ends. */
  topupUsd: string;
  /** The limit that was there, whose place it took. */
  replacedUsd?: string;
}

/**
 * Has a watched limit bind, or a limit that binds be watched only. It begins anew there with what its period has cost so far and what is held, and takes
 * the place of one that was there before. What a limit was topped up by stays with the one that binds. Undefined when there is no
 * such limit, or it is only a default of the tenant's users or labels.
 */
export async function setEnforced(
  pool: Pool,
  { tenantId, by, quota, enforced, reason, keepWith }: Order,
): Promise<ChangedLimit | undefined> {
  const sums = await sumOfLabels(pool, tenantId, [quota]);
  const details: Record<string, unknown> = { ...quota, reason };
  const userIds = quota.scope === 'user' ? [quota.scopeId] : [];
  const action = enforced ? 'enforce_quota' : 'watch_quota';
  const order = { tenantId, by, action, details, userIds, finish: keepWith };
  return change(pool, order, async (client) => {
    await beginPeriods(client, tenantId, [quota]);
    const from = { ...quota, enforced: !enforced };
    const named = [tenantId, storedScope(from), quota.scopeId, quota.resourceType, quota.period];
    const limit = await client.query<
      Required<Pick<QuotaChange, 'limitUsd' | 'warningThreshold' | 'moreWarningThresholds'>>
    >(
      `SELECT trim_scale(limit_usd)::text AS "limitUsd", warning_threshold::float8 AS "warningThreshold",
              more_warning_thresholds::float8[] AS "moreWarningThresholds"
       FROM copilot_internal.cost_quotas
       WHERE tenant_id = $1 AND scope = $2 AND scope_id = $3 AND resource_type = $4 AND period = $5 AND NOT from_default`,
      named,
    );
    const [found] = limit.rows;
    if (!found) return undefined;
    const { rows } = await client.query<{ removed: object | null }>(
      'SELECT copilot_internal.remove_quota($1, $2, $3, $4, $5) AS removed',
      named,
    );
    details.removed = rows[0]?.removed;
    const to: QuotaChange = { ...quota, ...found, enforced };
    const replacedUsd = (await standing(client, tenantId, to))?.limitUsd;
    details.replacedUsd = replacedUsd;
    if (quota.scope === 'label') await setLabelQuota(client, tenantId, to, sums);
    else await setQuota(client, tenantId, to);
    await refuseTooManyResources(client, tenantId);
    const { topupUsd = '0' } = (await standing(client, tenantId, to)) ?? {};
    return { limitUsd: found.limitUsd, topupUsd, ...omitUndefined({ replacedUsd }) };
  });
}

/** What there is of a limit where it stands. */
async function standing(
  client: PoolClient,
  tenantId: string,
  quota: QuotaChange,
): Promise<{ limitUsd: string; topupUsd: string } | undefined> {
  const { rows } = await client.query<{ limitUsd: string; topupUsd: string }>(
    `SELECT trim_scale(limit_usd)::text AS "limitUsd", trim_scale(topup_usd)::text AS "topupUsd"
     FROM copilot_internal.cost_quotas
     WHERE tenant_id = $1 AND scope = $2 AND scope_id = $3 AND resource_type = $4 AND period = $5`,
    [tenantId, storedScope(quota), quota.scopeId, quota.resourceType, quota.period],
  );
  return rows[0];
}
