/** The tenants of a chaos run, and what each may spend. */
import { askingTenant, askingUserLimitUsd } from './asking';
import { hoarder } from './attacks';
import { agentsTenant } from './doors';
import type { Installation } from './installation';
import { racer } from './mandates';
import { Chance } from './random';
import type { Tenant } from './scene';
import { toolsTenant } from './tool-runs';

/** Money for a few dozen calls a day and tenant: limits are met, and days pass. */
const limitUsd = 15;
const userLimitUsd = 6;
const platformLimitUsd = 50;
/** By the day, of each team; and of one by itself. */
const teamLimitUsd = 4;
const searchLimitUsd = 3;
const geocodingLimitUsd = 3;
/** Of what is only watched: less than what binds beside it, and another than any that is set. */
const shadowLimitUsd = 1.9;

interface TenantOptions {
  seed: number;
  tenants: number;
  mandates: boolean;
  beside?: string;
}

/** Tenants whose quotas are by the day, so that days can pass; their users have a default; the platform binds them all. */
export async function makeTenants(
  { admin }: Installation,
  { seed, tenants: count, mandates, beside }: TenantOptions,
): Promise<Tenant[]> {
  const tenants: Tenant[] = Array.from({ length: count }, (_, index) => ({
    tenantId: `chaos-${index + 1}`,
    chance: new Chance(seed * 1_000 + index),
  }));
  for (const tenantId of [
    ...tenants.map((tenant) => tenant.tenantId),
    racer,
    hoarder,
    agentsTenant,
    toolsTenant,
    askingTenant,
  ]) {
    await admin.query('INSERT INTO copilot_internal.tenants (tenant_id) VALUES ($1)', [tenantId]);
    await admin.query(
      `INSERT INTO copilot_internal.user_quota_defaults (tenant_id, resource_type, period, limit_usd) VALUES ($1, 'all', 'day', $2)`,
      [tenantId, tenantId === askingTenant ? askingUserLimitUsd : userLimitUsd],
    );
  }
  await admin.query(
    // Others in their place: a limit that is there has its period for good, in its row and on record.
    `WITH monthly AS (DELETE FROM copilot_internal.cost_quotas WHERE scope = 'tenant' RETURNING tenant_id, scope_id, resource_type)
     INSERT INTO copilot_internal.cost_quotas (tenant_id, scope, scope_id, resource_type, period, limit_usd, period_start, period_end)
     SELECT m.tenant_id, 'tenant', m.scope_id, m.resource_type, 'day', $1, b.period_start, b.period_end
     FROM monthly m, copilot_internal.period_bounds('day', now()) AS b`,
    [limitUsd],
  );
  await admin.query(
    `INSERT INTO copilot_internal.cost_quotas (tenant_id, scope, scope_id, resource_type, period, limit_usd, period_start, period_end)
     SELECT t.tenant_id, 'tenant', t.tenant_id, 'geocoding', 'day', $1, b.period_start, b.period_end
     FROM copilot_internal.tenants t, copilot_internal.period_bounds('day', now()) AS b`,
    [geocodingLimitUsd],
  );
  // One of the version before is not bound by them.
  const ofTeams =
    beside === undefined ? { each: teamLimitUsd, search: searchLimitUsd } : { each: 1_000, search: 1_000 };
  for (const tenantId of [...tenants.map((tenant) => tenant.tenantId), racer, hoarder]) {
    const ofTeam = { key: 'team', resourceType: 'all', period: 'day' };
    const seed = `SELECT copilot_internal.seed_label_quotas($1, $2, '[]', 0)`;
    await admin.query(seed, [tenantId, { ...ofTeam, value: 'search', limitUsd: String(ofTeams.search) }]);
    await admin.query(
      `INSERT INTO copilot_internal.label_quota_defaults (tenant_id, key, resource_type, period, limit_usd) VALUES ($1, 'team', 'all', 'day', $2)`,
      [tenantId, ofTeams.each],
    );
    await admin.query(seed, [tenantId, { ...ofTeam, limitUsd: String(ofTeams.each) }]);
  }
  // One of the version before counts for these, and raises no alert of theirs.
  await admin.query(
    `INSERT INTO copilot_internal.cost_quotas (tenant_id, scope, scope_id, resource_type, period, limit_usd, period_start, period_end)
     SELECT t.tenant_id, s.scope, coalesce(s.scope_id, t.tenant_id), 'all', 'day', $1, b.period_start, b.period_end
     FROM copilot_internal.tenants t, copilot_internal.period_bounds('day', now()) AS b,
          (VALUES ('shadow_tenant', NULL), ('shadow_user', 'ada'), ('shadow_label', 'team:search')) AS s (scope, scope_id)`,
    [beside === undefined ? shadowLimitUsd : 1_000],
  );
  // What needs the platform's money goes by signal: half of the runs with mandates leave callers without that need.
  const resource = mandates && seed % 2 === 0 ? 'e2b' : 'llm';
  const setPlatform = `SELECT copilot_internal.set_platform_quota($1, 'day', $2, NULL, NULL)`;
  await admin.query(setPlatform, [resource, platformLimitUsd]);
  return tenants;
}
