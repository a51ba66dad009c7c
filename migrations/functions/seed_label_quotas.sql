-- Makes limits of a label that are not there yet, under the tenant's lock: of one value, or by a default of all that are told apart and of
-- `other`. Each begins with what is on record of it in its period and what is reserved: what was summed up to a mark before the lock
-- (label_spend), and what came after it. False where the value is beyond those that are told apart.
--   p_quota: {scope?, key, value?, resourceType, period, limitUsd, warningThreshold?, moreWarningThresholds?}
CREATE OR REPLACE FUNCTION copilot_internal.seed_label_quotas(p_tenant_id text, p_quota jsonb, p_spend jsonb, p_mark bigint) RETURNS boolean
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_key text := p_quota ->> 'key';
  v_value text := p_quota ->> 'value';
  v_resource text := p_quota ->> 'resourceType';
  v_values text[];
BEGIN
  -- What is held open is noted, too: what it counts for is not to change.
  PERFORM note_label_values(p_tenant_id, ARRAY(
    SELECT DISTINCT labels FROM reservations WHERE tenant_id = p_tenant_id AND status = 'granted' AND jsonb_typeof(labels) = 'object'));
  IF v_value IS NULL THEN
    v_values := ARRAY(SELECT value FROM label_values WHERE tenant_id = p_tenant_id AND key = v_key UNION SELECT 'other');
  ELSE
    PERFORM add_label_quotas(p_tenant_id, ARRAY[jsonb_build_object(v_key, v_value)]);
    PERFORM note_label_values(p_tenant_id, ARRAY[jsonb_build_object(v_key, v_value)]);
    v_values := ARRAY[v_value];
    IF v_value <> 'other' AND NOT EXISTS (
      SELECT FROM label_values WHERE tenant_id = p_tenant_id AND key = v_key AND value = v_value) THEN
      RETURN false;
    END IF;
  END IF;
  INSERT INTO cost_quotas (tenant_id, scope, scope_id, resource_type, period, limit_usd, warning_threshold, more_warning_thresholds,
                           from_default, period_start, period_end, current_spend_usd, reserved_usd)
  SELECT p_tenant_id, coalesce(p_quota ->> 'scope', 'label'), v_key || ':' || v.value, v_resource, p_quota ->> 'period', (p_quota ->> 'limitUsd')::numeric,
         coalesce((p_quota ->> 'warningThreshold')::numeric, 0.80),
         ARRAY(SELECT jsonb_array_elements_text(p_quota -> 'moreWarningThresholds')::numeric), v_value IS NULL, b.period_start, b.period_end,
         coalesce(s.usd, 0) + coalesce(n.usd, 0), coalesce(o.usd, 0)
  FROM unnest(v_values) AS v (value)
  CROSS JOIN period_bounds(p_quota ->> 'period', clock_timestamp()) AS b
  -- Nothing of it where the period has begun since.
  LEFT JOIN (
    SELECT value, period_start, sum(spent_usd) AS usd
    FROM jsonb_to_recordset(p_spend) AS s (period text, period_start timestamptz, value text, resource text, spent_usd numeric)
    WHERE period = p_quota ->> 'period' AND v_resource IN ('all', resource) GROUP BY 1, 2) AS s
    ON s.value = v.value AND s.period_start = b.period_start
  LEFT JOIN (
    SELECT l.labels ->> v_key AS value, sum(l.amount_usd) AS usd
    FROM cost_records l, period_bounds(p_quota ->> 'period', clock_timestamp()) AS p
    WHERE l.cost_record_id > p_mark AND l.tenant_id = p_tenant_id AND l.labels ? v_key AND v_resource IN ('all', l.resource)
      AND l.posted_at >= p.period_start AND l.posted_at < p.period_end
    GROUP BY 1) AS n ON n.value = v.value
  LEFT JOIN (
    -- Each value once, of however many reservations.
    SELECT counted_labels(p_tenant_id, jsonb_build_object(v_key, r.value)) ->> v_key AS value, sum(r.usd) AS usd
    FROM (SELECT labels ->> v_key AS value, sum(granted_usd) AS usd FROM reservations
          WHERE tenant_id = p_tenant_id AND status = 'granted' AND labels ? v_key AND (v_resource IN ('all', resource) OR v_resource = ANY (held_on)) GROUP BY 1) AS r
    GROUP BY 1) AS o ON o.value = v.value
  ON CONFLICT DO NOTHING;
  RETURN true;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.seed_label_quotas(text, jsonb, jsonb, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.seed_label_quotas(text, jsonb, jsonb, bigint) TO spendlock_app;
