-- The quotas of tenants for the metrics, those nearest to their limit first.
CREATE OR REPLACE FUNCTION copilot_internal.quota_gauges(p_max integer)
  RETURNS TABLE (tenant_id text, resource_type text, period text, limit_usd numeric, spent_usd numeric, reserved_usd numeric)
  LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT q.tenant_id, q.resource_type, q.period, c.whole_limit_usd, c.spent_usd, q.reserved_usd
  FROM cost_quotas q, LATERAL current_quota(q) AS c
  WHERE q.scope = 'tenant'
  ORDER BY (c.spent_usd + q.reserved_usd) / greatest(c.whole_limit_usd, 0.000000000001) DESC, q.tenant_id, q.resource_type, q.period
  LIMIT p_max
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.quota_gauges(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.quota_gauges(integer) TO spendlock_app;
