-- The platform's rows are locked: begins the period around `p_now` where it has ended, for the platform and for leases
-- whose tenants slept through it.
CREATE OR REPLACE FUNCTION copilot_internal.reset_platform_period(p_platform_quota_id uuid, p_now timestamptz) RETURNS void
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  PERFORM 1 FROM tenants WHERE tenant_id IN (
    SELECT tenant_id FROM cost_quotas WHERE lease_of = p_platform_quota_id AND period_end <= p_now)
  ORDER BY tenant_id FOR NO KEY UPDATE;
  UPDATE cost_quotas q
  SET current_spend_usd = 0, topup_usd = 0, period_start = b.period_start, period_end = b.period_end, updated_at = p_now,
      limit_usd = CASE WHEN q.lease_of IS NULL THEN q.limit_usd ELSE q.reserved_usd END, exhausted_until = NULL
  FROM period_bounds((SELECT period FROM cost_quotas WHERE quota_id = p_platform_quota_id), p_now) AS b
  WHERE (q.quota_id = p_platform_quota_id OR q.lease_of = p_platform_quota_id) AND q.period_end <= p_now;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.reset_platform_period(uuid, timestamptz) FROM PUBLIC;
