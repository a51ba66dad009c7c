-- What each quota of the platform has given to leases, and what is used of them. Who ran over a lease was given no more by it.
CREATE OR REPLACE FUNCTION copilot_internal.lease_sums()
  RETURNS TABLE (resource_type text, period text, limit_usd numeric, given_usd numeric, used_usd numeric)
  LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT p.resource_type, p.period, p.limit_usd + CASE WHEN p.period_end <= now() THEN 0 ELSE p.topup_usd END,
         coalesce(sum(CASE WHEN l.period_end > now() THEN l.limit_usd ELSE l.reserved_usd END), 0),
         coalesce(sum(CASE WHEN l.period_end > now() THEN l.current_spend_usd ELSE 0 END + l.reserved_usd), 0)
  FROM cost_quotas p LEFT JOIN cost_quotas l ON l.lease_of = p.quota_id
  WHERE p.tenant_id IS NULL
  GROUP BY p.quota_id
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.lease_sums() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.lease_sums() TO spendlock_app;
