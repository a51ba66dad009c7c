-- Administration's list of tenants, each with its monthly quota for everything. It crosses tenants, so it runs as the owner.
CREATE OR REPLACE FUNCTION copilot_internal.list_tenants()
  RETURNS TABLE (tenant_id text, name text, frozen_reason text, limit_usd numeric, spent_usd numeric, reserved_usd numeric,
    created_at timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT t.tenant_id, t.name, t.frozen_reason, c.whole_limit_usd, c.spent_usd, q.reserved_usd, t.created_at
  FROM tenants t
  LEFT JOIN cost_quotas q ON q.tenant_id = t.tenant_id AND q.scope = 'tenant' AND q.resource_type = 'all' AND q.period = 'month'
  LEFT JOIN LATERAL current_quota(q) AS c ON q.quota_id IS NOT NULL
  WHERE t.deleted_at IS NULL
  ORDER BY t.tenant_id
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.list_tenants() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.list_tenants() TO spendlock_app;
