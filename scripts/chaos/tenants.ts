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
/** By the month, beside it: it binds from the second day on, until it is topped up as days end. */
const monthLimitUsd = 18;
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
}

/** Tenants whose quotas are by the day, so that days can pass, and by the month; their users have a default; the platform binds them all. */
export async function makeTenants(
  { admin }: Installation,
  { seed, tenants: count, mandates }: TenantOptions,
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
  // A day beside the month that each has.
  await admin.query(`UPDATE copilot_internal.cost_quotas SET limit_usd = $1 WHERE scope = 'tenant'`, [monthLimitUsd]);
  await admin.query(
    `INSERT INTO copilot_internal.cost_quotas (tenant_id, scope, scope_id, resource_type, period, limit_usd, period_start, period_end)
     SELECT m.tenant_id, 'tenant', m.scope_id, m.resource_type, 'day', $1, b.period_start, b.period_end
     FROM copilot_internal.cost_quotas m, copilot_internal.period_bounds('day', now()) AS b WHERE m.scope = 'tenant'`,
    [limitUsd],
  );
  await admin.query(
    `INSERT INTO copilot_internal.cost_quotas (tenant_id, scope, scope_id, resource_type, period, limit_usd, period_start, period_end)
     SELECT t.tenant_id, 'tenant', t.tenant_id, 'geocoding', 'day', $1, b.period_start, b.period_end
     FROM copilot_internal.tenants t, copilot_internal.period_bounds('day', now()) AS b`,
    [geocodingLimitUsd],
  );
  for (const tenantId of [...tenants.map((tenant) => tenant.tenantId), racer, hoarder]) {
    const ofTeam = { key: 'team', resourceType: 'all', period: 'day' };
    const seed = `SELECT copilot_internal.seed_label_quotas($1, $2, '[]', 0)`;
    await admin.query(seed, [tenantId, { ...ofTeam, value: 'search', limitUsd: String(searchLimitUsd) }]);
    await admin.query(
      `INSERT INTO copilot_internal.label_quota_defaults (tenant_id, key, resource_type, period, limit_usd) VALUES ($1, 'team', 'all', 'day', $2)`,
      [tenantId, teamLimitUsd],
    );
    await admin.query(seed, [tenantId, { ...ofTeam, limitUsd: String(teamLimitUsd) }]);
  }
  await admin.query(
    `INSERT INTO copilot_internal.cost_quotas (tenant_id, scope, scope_id, resource_type, period, limit_usd, period_start, period_end)
     SELECT t.tenant_id, s.scope, coalesce(s.scope_id, t.tenant_id), 'all', 'day', $1, b.period_start, b.period_end
     FROM copilot_internal.tenants t, copilot_internal.period_bounds('day', now()) AS b,
          (VALUES ('shadow_tenant', NULL), ('shadow_user', 'ada'), ('shadow_label', 'team:search')) AS s (scope, scope_id)`,
    [shadowLimitUsd],
  );
  // What needs the platform's money goes by signal: half of the runs with mandates leave callers without that need.
  const resource = mandates && seed % 2 === 0 ? 'e2b' : 'llm';
  const setPlatform = `SELECT copilot_internal.set_platform_quota($1, 'day', $2, NULL, NULL)`;
  await admin.query(setPlatform, [resource, platformLimitUsd]);
  return tenants;
}
