-- What reset_ended_periods does, for the limits of some labels: a decision costs what it concerns, however many labels have limits.
CREATE OR REPLACE FUNCTION copilot_internal.reset_label_periods(p_tenant_id text, p_now timestamptz, p_scope_ids text[]) RETURNS void
  LANGUAGE sql
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  UPDATE cost_quotas q
  SET current_spend_usd = 0, topup_usd = 0, period_start = b.period_start, period_end = b.period_end, updated_at = p_now
  FROM cost_quotas old, period_bounds(old.period, p_now) AS b
  WHERE old.quota_id = q.quota_id AND q.tenant_id = p_tenant_id AND q.scope = 'label' AND q.scope_id = ANY (p_scope_ids)
    AND q.period_end <= p_now AND old.tenant_id = p_tenant_id AND old.scope = 'label' AND old.scope_id = ANY (p_scope_ids)
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.reset_label_periods(text, timestamptz, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.reset_label_periods(text, timestamptz, text[]) TO spendlock_app;
