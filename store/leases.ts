/** What tenants draw from the platform's quotas and give back. See `draw_lease` in migrations/functions. */
import type { Period } from '../core/budget/periods';
import type { ResourceType } from '../core/budget/quotas';
import type { Operator } from './operator';
import { databaseLimits } from './connections';
import { asTenant, inTransaction, type Pool, type PoolClient } from './pool';
import { viewOf, type QuotaRow, type StoredQuota } from './quota-rows';
import { refuseTooManyResources } from './resources';

/** Draws what the leases of a tenant lack, as far as the platform has it. Amounts are decimal strings. */
export async function drawLease(
  pool: Pool,
  { tenantId, needs }: { tenantId: string; needs: readonly { quotaId: string; neededUsd: string }[] },
): Promise<void> {
  await asTenant(pool, tenantId, (client, commitWith) =>
    commitWith(client.query('SELECT copilot_internal.draw_lease($1, $2)', [tenantId, JSON.stringify(needs)])),
  );
}

/** Gives back what is idle of a tenant's leases. */
export async function returnLeases(pool: Pool, tenantId: string): Promise<void> {
  await asTenant(pool, tenantId, (client, commitWith) =>
    commitWith(client.query('SELECT copilot_internal.return_leases($1)', [tenantId])),
  );
}

/** Raises the platform's alerts, and names tenants whose authority has something to do and may be asleep. */
export async function lookAfter(pool: Pool, tenantsMax: number): Promise<string[]> {
  const look = 'SELECT tenant_id FROM copilot_internal.look_after($1) AS tenant_id';
  const { rows } = await inTransaction(
    pool,
    (client, commitWith) => commitWith(client.query<{ tenant_id: string }>(look, [tenantsMax])),
    { statementMs: databaseLimits.patientMs },
  );
  return rows.map(({ tenant_id }) => tenant_id);
}

/** A platform quota, with what all tenants have spent, reserved and leased of it. */
export type PlatformQuota = StoredQuota & { leasedUsd: string };

/** Administration's look across tenants. */
export async function listPlatformQuotas(pool: Pool): Promise<PlatformQuota[]> {
  const { rows } = await pool.query<QuotaRow & { leased_usd: string }>(
    `SELECT scope, scope_id, resource_type, period, trim_scale(limit_usd)::text AS limit_usd,
            trim_scale(topup_usd)::text AS topup_usd, trim_scale(spent_usd)::text AS spent_usd,
            trim_scale(reserved_usd)::text AS reserved_usd, trim_scale(leased_usd)::text AS leased_usd,
            warning_threshold::float8 AS warning_threshold, more_warning_thresholds::float8[] AS more_warning_thresholds,
            period_start, period_end
     FROM copilot_internal.list_platform_quotas()`,
  );
  return rows.map((row) => ({ ...viewOf(row), leasedUsd: row.leased_usd }));
}

export interface PlatformQuotaChange {
  resourceType: ResourceType;
  period: Period;
  limitUsd: string;
  warningThreshold?: number | undefined;
  moreWarningThresholds?: readonly number[] | undefined;
}

/** Sets platform quotas, with an audit entry, all or none. A lower one takes back at once what tenants leased and do not use. */
export async function setPlatformQuotas(
  pool: Pool,
  { changes, by, reason }: { changes: readonly PlatformQuotaChange[]; by: Operator; reason?: string | undefined },
): Promise<void> {
  const setting = async (client: PoolClient): Promise<void> => {
    for (const { resourceType, period, limitUsd, warningThreshold, moreWarningThresholds } of changes) {
      await client.query('SELECT copilot_internal.set_platform_quota($1, $2, $3, $4, $5)', [
        resourceType,
        period,
        limitUsd,
        warningThreshold ?? null,
        moreWarningThresholds ?? null,
      ]);
    }
    await refuseTooManyResources(client, null);
    await note(client, { by, action: 'set_platform_quotas', details: { quotas: changes, reason } });
  };
  await inTransaction(pool, setting, { holdsUp: true });
}

/** Removes a platform quota for good, with what tenants leased of it. False when there is none. */
export async function removePlatformQuota(
  pool: Pool,
  order: {
    by: Operator;
    quota: Pick<PlatformQuotaChange, 'resourceType' | 'period'>;
    reason: string;
    /** The last statement of the transaction: a repeat finds nothing to remove. */
    keepWith: (client: PoolClient) => Promise<void>;
  },
): Promise<boolean> {
  const { by, quota, reason, keepWith } = order;
  const removing = async (client: PoolClient): Promise<boolean> => {
    const { rows } = await client.query<{ removed: object | null }>(
      'SELECT copilot_internal.remove_platform_quota($1, $2) AS removed',
      [quota.resourceType, quota.period],
    );
    const removed = rows[0]?.removed;
    if (!removed) return false;
    await note(client, { by, action: 'remove_platform_quota', details: { ...quota, reason, removed } });
    await keepWith(client);
    return true;
  };
  return inTransaction(pool, removing, { holdsUp: true });
}

/** Notes a change of what is no tenant's. */
async function note(
  client: PoolClient,
  { by, action, details }: { by: Operator; action: string; details: object },
): Promise<void> {
  await client.query(
    `INSERT INTO copilot_internal.audit_entries (api_key_id, author, action, details) VALUES ($1, $2, $3, $4)`,
    [by.apiKeyId ?? null, by.author, action, JSON.stringify(details)],
  );
}
