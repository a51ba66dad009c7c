-- What reset_ended_periods does, for the limits of some labels: a decision costs what it concerns, however many labels have limits.
CREATE OR REPLACE FUNCTION copilot_internal.reset_label_periods(p_tenant_id text, p_now timestamptz, p_scope_ids text[]) RETURNS void
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  PERFORM reset_quotas(ARRAY(SELECT quota_id FROM quotas_of(p_tenant_id, '{}', p_scope_ids) WHERE scope IN ('label', 'shadow_label')), p_now);
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.reset_label_periods(text, timestamptz, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.reset_label_periods(text, timestamptz, text[]) TO spendlock_app;
