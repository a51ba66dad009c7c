-- Administration's platform quotas, with what all tenants have spent, reserved and leased of them.
CREATE OR REPLACE FUNCTION copilot_internal.list_platform_quotas()
  RETURNS TABLE (scope text, scope_id text, resource_type text, period text, limit_usd numeric, topup_usd numeric,
                 spent_usd numeric, reserved_usd numeric, leased_usd numeric, warning_threshold numeric,
                 more_warning_thresholds numeric[], period_start timestamptz, period_end timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT p.scope, p.scope_id, p.resource_type, p.period, p.limit_usd,
         c.topup_usd, l.spent, l.reserved, l.leased, p.warning_threshold,
         p.more_warning_thresholds, b.period_start, b.period_end
  FROM cost_quotas p
  CROSS JOIN LATERAL current_quota(p) AS c
  CROSS JOIN LATERAL period_bounds(p.period, greatest(now(), p.period_start)) AS b
  CROSS JOIN LATERAL (
    SELECT coalesce(sum(now.spent_usd), 0) AS spent, coalesce(sum(lease.reserved_usd), 0) AS reserved,
           coalesce(sum(greatest(now.limit_usd, now.spent_usd + lease.reserved_usd)), 0) AS leased
    FROM cost_quotas lease, LATERAL current_quota(lease) AS now WHERE lease.lease_of = p.quota_id) AS l
  WHERE p.tenant_id IS NULL
  ORDER BY p.resource_type, p.period
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.list_platform_quotas() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.list_platform_quotas() TO spendlock_app;
