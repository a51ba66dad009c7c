-- Has the quotas of a tenant and of the named users begin their current period, without what has expired (reset_quotas): a decision costs what it concerns,
-- however many users a tenant has, and whoever reads another's quota in between reads it as the next decision will find it. Who names
-- nobody, as the version before, means all of them.
CREATE OR REPLACE FUNCTION copilot_internal.reset_ended_periods(p_tenant_id text, p_now timestamptz, p_user_ids text[] DEFAULT NULL) RETURNS void
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  PERFORM reset_quotas(CASE WHEN p_user_ids IS NOT NULL THEN ARRAY(
    SELECT quota_id FROM quotas_of(p_tenant_id, p_user_ids, '{}')) ELSE ARRAY(
    SELECT quota_id FROM cost_quotas
    WHERE tenant_id = p_tenant_id AND (period_end <= p_now OR topup_expires_at <= p_now) AND scope IN ('platform', 'tenant', 'user')) END, p_now);
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.reset_ended_periods(text, timestamptz, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.reset_ended_periods(text, timestamptz, text[]) TO spendlock_app;
