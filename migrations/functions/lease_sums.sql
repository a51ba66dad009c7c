-- What each quota of the platform has given to leases, and what is used of them. Who ran over a lease was given no more by it.
CREATE OR REPLACE FUNCTION copilot_internal.lease_sums()
  RETURNS TABLE (resource_type text, period text, limit_usd numeric, given_usd numeric, used_usd numeric)
  LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT p.resource_type, p.period, c.whole_limit_usd, l.given_usd, l.used_usd
  FROM cost_quotas p
  CROSS JOIN LATERAL current_quota(p) AS c
  CROSS JOIN LATERAL (
    SELECT coalesce(sum(now.limit_usd), 0) AS given_usd, coalesce(sum(now.spent_usd + lease.reserved_usd), 0) AS used_usd
    FROM cost_quotas lease, LATERAL current_quota(lease) AS now WHERE lease.lease_of = p.quota_id) AS l
  WHERE p.tenant_id IS NULL
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.lease_sums() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.lease_sums() TO spendlock_app;
