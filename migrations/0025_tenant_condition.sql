-- A quota is looked up by its payer or its key. The tenant that row security asks for is in a form that no index serves: a plan believed it
-- narrower than any key, and read all limits that a tenant has (docs/decisions/0053-labels.md).
SET LOCAL ROLE spendlock_owner;

ALTER POLICY one_tenant ON copilot_internal.cost_quotas
  USING (tenant_id || '' = current_setting('spendlock.tenant_id', true));

RESET ROLE;
