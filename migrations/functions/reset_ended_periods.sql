-- Requirement Q8: a quota whose period has ended starts the current one at zero; open reservations carry over. A lease begins
-- its period with what it still holds reserved; the rest of it is lost. Of users' quotas those of the named users: a decision
-- costs what it concerns, however many users a tenant has, and whoever reads another's quota in between reads it as the next
-- decision will find it. Who names nobody, as the version before, means all of them.
CREATE OR REPLACE FUNCTION copilot_internal.reset_ended_periods(p_tenant_id text, p_now timestamptz, p_user_ids text[] DEFAULT NULL) RETURNS void
  LANGUAGE sql
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  UPDATE cost_quotas q
  SET current_spend_usd = 0, topup_usd = 0, period_start = b.period_start, period_end = b.period_end, updated_at = p_now,
      limit_usd = CASE WHEN q.lease_of IS NULL THEN q.limit_usd ELSE q.reserved_usd END, exhausted_until = NULL
  FROM cost_quotas old, period_bounds(old.period, p_now) AS b
  WHERE old.quota_id = q.quota_id AND q.tenant_id = p_tenant_id AND q.period_end <= p_now AND old.tenant_id = p_tenant_id
    AND (q.scope IN ('platform', 'tenant') OR (q.scope = 'user' AND (p_user_ids IS NULL OR q.scope_id = ANY (p_user_ids))))
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.reset_ended_periods(text, timestamptz, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.reset_ended_periods(text, timestamptz, text[]) TO spendlock_app;
