-- Raises the alerts that the platform's spend calls for, once per threshold and period.
CREATE OR REPLACE FUNCTION copilot_internal.raise_platform_alerts(p_platform_quota_id uuid, p_refused_usd numeric DEFAULT NULL)
  RETURNS void
  LANGUAGE sql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  WITH platform AS (
    SELECT p.*, p.limit_usd + p.topup_usd AS ceiling_usd, l.spent, l.reserved
    FROM cost_quotas p
    CROSS JOIN LATERAL (
      SELECT coalesce(sum(current_spend_usd) FILTER (WHERE period_start = p.period_start), 0) AS spent,
             coalesce(sum(reserved_usd), 0) AS reserved
      FROM cost_quotas WHERE lease_of = p.quota_id) AS l
    WHERE p.quota_id = p_platform_quota_id AND p.tenant_id IS NULL
  )
  INSERT INTO quota_alerts (quota_id, kind, threshold, period_start, details)
  SELECT p.quota_id, a.kind, a.threshold, p.period_start, jsonb_strip_nulls(jsonb_build_object(
           'scope', 'platform', 'scopeId', p.scope_id, 'resourceType', p.resource_type, 'period', p.period,
           'limitUsd', trim_scale(p.ceiling_usd)::text, 'spentUsd', trim_scale(p.spent)::text,
           'reservedUsd', trim_scale(p.reserved)::text,
           'utilizationPercent', CASE p.ceiling_usd WHEN 0 THEN 100 ELSE trunc(p.spent * 100 / p.ceiling_usd, 2) END,
           'estimatedUsd', CASE a.kind WHEN 'quota_exceeded' THEN trim_scale(p_refused_usd)::text END))
  FROM platform p
  CROSS JOIN LATERAL (
    SELECT 'quota_warning' AS kind, t AS threshold FROM unnest(p.warning_threshold || p.more_warning_thresholds) AS t
    WHERE p.spent > 0 AND p.spent >= p.ceiling_usd * t
    UNION ALL
    SELECT 'quota_exceeded', NULL WHERE p_refused_usd IS NOT NULL OR p.spent + p.reserved > p.ceiling_usd
  ) AS a
  ON CONFLICT DO NOTHING
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.raise_platform_alerts(uuid, numeric) FROM PUBLIC;
