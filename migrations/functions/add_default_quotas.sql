-- Gives one tenant the quotas of requirement Q4 that it does not have yet. Answers how many it added.
CREATE OR REPLACE FUNCTION copilot_internal.add_default_quotas(p_tenant_id text) RETURNS integer
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_added integer;
BEGIN
  INSERT INTO cost_quotas (tenant_id, scope, scope_id, resource_type, period, limit_usd, warning_threshold,
                           period_start, period_end)
  SELECT p_tenant_id, 'tenant', p_tenant_id, d.resource_type, 'month', d.limit_usd, 0.80, b.period_start, b.period_end
  FROM (VALUES ('llm', 100), ('e2b', 50), ('all', 150)) AS d (resource_type, limit_usd),
       period_bounds('month', clock_timestamp()) AS b
  ON CONFLICT DO NOTHING;
  GET DIAGNOSTICS v_added = ROW_COUNT;
  RETURN v_added;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.add_default_quotas(text) FROM PUBLIC;
