-- Sets a platform quota. Administration's; its caller writes the audit entry. Quotas that are new are rows that nobody else can
-- wait for yet, so those who set some wait for each other by a lock of their own.
CREATE OR REPLACE FUNCTION copilot_internal.set_platform_quota(p_resource_type text, p_period text, p_limit_usd numeric,
    p_warning_threshold numeric, p_more_warning_thresholds numeric[]) RETURNS void
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('spendlock.set_platform_quota'));
  PERFORM lock_platform();
  INSERT INTO cost_quotas AS q (scope, scope_id, resource_type, period, limit_usd, warning_threshold,
                                more_warning_thresholds, period_start, period_end)
  SELECT 'platform', 'platform', p_resource_type, p_period, p_limit_usd, coalesce(p_warning_threshold, 0.80),
         coalesce(p_more_warning_thresholds, '{}'), b.period_start, b.period_end
  FROM period_bounds(p_period, clock_timestamp()) AS b
  ON CONFLICT (tenant_id, scope, scope_id, resource_type, period) DO UPDATE
  SET limit_usd = excluded.limit_usd, warning_threshold = coalesce(p_warning_threshold, q.warning_threshold),
      more_warning_thresholds = coalesce(p_more_warning_thresholds, q.more_warning_thresholds), updated_at = clock_timestamp();
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.set_platform_quota(text, text, numeric, numeric, numeric[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.set_platform_quota(text, text, numeric, numeric, numeric[]) TO spendlock_app;
