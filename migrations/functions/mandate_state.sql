-- How a tenant's mandate stands, for whoever looks after it, and why a process of these rules decides nothing under it now: each reason
-- of is_mandated, and none where there is none. One row, also of a tenant that never had a mandate.
CREATE OR REPLACE FUNCTION copilot_internal.mandate_state(p_tenant_id text, p_rules text)
  RETURNS TABLE (why text[], open_until timestamptz, rules text, barred_at timestamptz, barred_reason text, barred_by text,
    granted bigint, denied bigint, granted_usd numeric, left_at timestamptz, needed_at timestamptz)
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT array_remove(ARRAY[
      CASE
        WHEN m.barred_at IS NOT NULL THEN 'recalled'
        WHEN m.open_until IS NULL AND coalesce(m.rules, '') = '' THEN 'never_opened'
        -- The last draw did not get what a call needed.
        WHEN m.open_until IS NULL AND EXISTS (
          SELECT FROM cost_quotas q WHERE q.tenant_id = p_tenant_id AND q.exhausted_until IS NOT NULL) THEN 'platform_waited_for'
        WHEN m.open_until IS NULL THEN 'closed'
        WHEN m.open_until <= clock_timestamp() THEN 'run_out'
        WHEN m.rules <> p_rules THEN 'other_rules' END], NULL),
    m.open_until, nullif(m.rules, ''), m.barred_at, nullif(m.barred_reason, ''),
    CASE WHEN m.barred_at IS NOT NULL THEN (
      SELECT a.author FROM audit_entries a
      WHERE a.tenant_id = p_tenant_id AND a.action = 'recall_mandate' AND a.created_at >= m.barred_at
      ORDER BY a.audit_entry_id LIMIT 1) END,
    coalesce(m.granted, 0), coalesce(m.denied, 0), coalesce(m.granted_usd, 0), m.left_at, m.needed_at
  FROM (VALUES (p_tenant_id)) AS t (tenant_id)
  LEFT JOIN mandates m ON m.tenant_id = t.tenant_id
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.mandate_state(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.mandate_state(text, text) TO spendlock_app;
