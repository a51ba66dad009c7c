-- Requirement Q8: a quota whose period has ended starts the current one at zero; open reservations carry over. A top-up that has expired
-- takes what is unused of it (`topups_at`). A lease begins its period with what it still holds reserved; the rest of it is lost. One row at a time, by its key, whatever the planner believes.
CREATE OR REPLACE FUNCTION copilot_internal.reset_quotas(p_quota_ids uuid[], p_now timestamptz) RETURNS void
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_quota_id uuid;
BEGIN
  FOR v_quota_id IN
    SELECT ended.quota_id FROM unnest(p_quota_ids) AS named (quota_id)
    CROSS JOIN LATERAL (SELECT q.quota_id FROM cost_quotas q WHERE q.quota_id = named.quota_id
      AND (q.period_end <= p_now OR q.topup_expires_at <= p_now) OFFSET 0) AS ended
  LOOP
    UPDATE cost_quotas q
    SET (topup_usd, topup_kept_usd, expiring_topups, topup_expires_at) = (SELECT t.* FROM topups_at(q, p_now) AS t), updated_at = p_now
    WHERE q.quota_id = v_quota_id;
    UPDATE cost_quotas q
    SET current_spend_usd = 0, (period_start, period_end) = (SELECT b.period_start, b.period_end FROM period_bounds(q.period, p_now) AS b),
        limit_usd = CASE WHEN q.lease_of IS NULL THEN q.limit_usd ELSE q.reserved_usd END, exhausted_until = NULL
    WHERE q.quota_id = v_quota_id AND q.period_end <= p_now;
  END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.reset_quotas(uuid[], timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.reset_quotas(uuid[], timestamptz) TO spendlock_app;
