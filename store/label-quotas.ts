/**
 * Limits of what has a label: set for one value, such as `team:search`, or for each value of a key that has none of its own. What was spent
 * before is summed without the tenant's lock, and what came since under it (docs/decisions/0053).
 */
import type { Period } from '../core/budget/periods';
import { labelOfScope } from '../core/budget/quotas';
import { change, type WithReason } from './change';
import type { Operator } from './operator';
import { databaseLimits } from './connections';
import { asTenant, asTenantTaking, type Pool, type PoolClient } from './pool';
import { storedScope, type QuotaChange } from './quota-key';
import { refuseTooManyResources } from './resources';

/** A value beyond those of its label that are told apart: its costs are on record as `other`. */
export class ValueBeyondError extends Error {
  constructor(readonly scopeId: string) {
    super(`${scopeId} is beyond the values of its label that are told apart`);
  }
}

/** What labels have spent, each key summed once, up to a line of the ledger. */
export interface LabelSums {
  mark: string;
  /** By key: rows of `label_spend`, as JSON. */
  byKey: ReadonlyMap<string, string>;
}

type Limit = Pick<QuotaChange, 'scopeId' | 'period'> & { scope: string };

/** Sums what the labels of new limits have spent in their periods. Nothing where none is of a label. */
export async function sumOfLabels(pool: Pool, tenantId: string, limits: readonly Limit[]): Promise<LabelSums> {
  const periods = new Map<string, Period[]>();
  for (const { scope, scopeId, period } of limits) {
    if (scope !== 'label') continue;
    const [key] = labelOfScope(scopeId);
    periods.set(key, [...new Set([...(periods.get(key) ?? []), period])]);
  }
  const byKey = new Map<string, string>();
  if (periods.size === 0) return { mark: '0', byKey };
  const {
    rows: [marked],
  } = await asTenant(pool, tenantId, (client, commitWith) =>
    commitWith(client.query<{ mark: string }>('SELECT copilot_internal.ledger_mark($1)::text AS mark', [tenantId])),
  );
  const mark = marked?.mark ?? '0';
  for (const [key, of] of periods) {
    // Nobody waits for it: it has no lock.
    const { rows } = await asTenantTaking(databaseLimits.patientMs)(pool, tenantId, (client) =>
      client.query<{ spent: string | null }>(
        'SELECT jsonb_agg(to_jsonb(s))::text AS spent FROM copilot_internal.label_spend($1, $2, $3, $4) AS s',
        [tenantId, key, of, mark],
      ),
    );
    byKey.set(key, rows[0]?.spent ?? '[]');
  }
  return { mark, byKey };
}

/** Makes limits that are not there yet, of one value or, without one, of each of the key and of `other`. False for a value beyond. */
async function seed(
  client: PoolClient,
  tenantId: string,
  quota: { scope?: string; key: string; value?: string | undefined } & Omit<QuotaChange, 'scope' | 'scopeId'>,
  { mark, byKey }: LabelSums,
): Promise<boolean> {
  const { rows } = await client.query<{ seeded: boolean }>(
    'SELECT copilot_internal.seed_label_quotas($1, $2, $3, $4) AS seeded',
    [tenantId, JSON.stringify(quota), byKey.get(quota.key) ?? '[]', mark],
  );
  return rows[0]?.seeded ?? false;
}

/** Sets the limit of one label, under the tenant's lock. @throws ValueBeyondError where its costs are told under `other`. */
export async function setLabelQuota(
  client: PoolClient,
  tenantId: string,
  { scopeId, resourceType, period, limitUsd, warningThreshold, moreWarningThresholds, ...whose }: QuotaChange,
  sums: LabelSums,
): Promise<void> {
  const [key, value] = labelOfScope(scopeId);
  const scope = storedScope(whose);
  const limit = { scope, resourceType, period, limitUsd, warningThreshold, moreWarningThresholds };
  if (!(await seed(client, tenantId, { key, value, ...limit }, sums))) throw new ValueBeyondError(scopeId);
  const { rowCount } = await client.query(
    `UPDATE copilot_internal.cost_quotas SET limit_usd = $5, warning_threshold = coalesce($6::numeric, warning_threshold),
       more_warning_thresholds = coalesce($7::numeric[], more_warning_thresholds), from_default = false, updated_at = clock_timestamp()
     WHERE tenant_id = $1 AND scope = $8 AND scope_id = $2 AND resource_type = $3 AND period = $4`,
    [tenantId, scopeId, resourceType, period, limitUsd, warningThreshold ?? null, moreWarningThresholds ?? null, scope],
  );
  // A database of the version before would have made a limit that binds.
  if (rowCount !== 1)
    throw new Error('The database has not been migrated to hold limits that are only watched. Nothing was changed.');
}

/** What a value of a label gets that has no limit of its own. */
export interface LabelDefault {
  key: string;
  resourceType: QuotaChange['resourceType'];
  period: Period;
  limitUsd: string;
  warningThreshold: number;
}

/** What values of a tenant's labels get. */
export async function readLabelDefaults(pool: Pool, tenantId: string): Promise<LabelDefault[]> {
  return asTenant(pool, tenantId, async (client) => {
    const { rows } = await client.query<LabelDefault>(
      `SELECT key, resource_type AS "resourceType", period, trim_scale(limit_usd)::text AS "limitUsd",
              warning_threshold::float8 AS "warningThreshold"
       FROM copilot_internal.label_quota_defaults WHERE tenant_id = $1 ORDER BY key, resource_type, period`,
      [tenantId],
    );
    return rows;
  });
}

/** Sets the defaults of a tenant's labels, also for values that have them already, and takes away what is none any more; limits set for a value itself stay. */
export async function setLabelDefaults(
  pool: Pool,
  {
    tenantId,
    by,
    defaults,
    reason,
  }: { tenantId: string; by: Operator; defaults: readonly LabelDefault[] } & WithReason,
): Promise<void> {
  const limits = defaults.map(({ key, period }) => ({ scope: 'label', scopeId: `${key}:`, period }));
  const sums = await sumOfLabels(pool, tenantId, limits);
  await change(pool, { tenantId, by, action: 'set_label_defaults', details: { defaults, reason } }, async (client) => {
    await client.query('DELETE FROM copilot_internal.label_quota_defaults WHERE tenant_id = $1', [tenantId]);
    for (const { key, resourceType, period, limitUsd, warningThreshold } of defaults) {
      const values = [tenantId, key, resourceType, period, limitUsd, warningThreshold];
      await client.query(
        `INSERT INTO copilot_internal.label_quota_defaults (tenant_id, key, resource_type, period, limit_usd, warning_threshold)
         VALUES ($1, $2, $3, $4, $5, $6)`,
        values,
      );
      await client.query(
        `UPDATE copilot_internal.cost_quotas SET limit_usd = $5, warning_threshold = $6, updated_at = clock_timestamp()
         WHERE tenant_id = $1 AND scope = 'label' AND split_part(scope_id, ':', 1) = $2 AND from_default
           AND resource_type = $3 AND period = $4`,
        values,
      );
    }
    for (const { key, ...limit } of defaults) await seed(client, tenantId, { key, ...limit }, sums);
    await client.query('SELECT copilot_internal.remove_former_label_defaults($1)', [tenantId]);
    await refuseTooManyResources(client, tenantId);
    return true;
  });
}
