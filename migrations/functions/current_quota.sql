-- What a quota comes to in the period around now. One whose period has ended has nothing spent and no top-up but those that outlive it, and a
-- lease keeps what it holds reserved, as the next decision will find it (`reset_quotas`). The whole limit is the limit with what it is topped
-- up by. It pins no search path, so that it is inlined where it is read from.
CREATE OR REPLACE FUNCTION copilot_internal.current_quota(q copilot_internal.cost_quotas)
  RETURNS TABLE (limit_usd numeric, topup_usd numeric, whole_limit_usd numeric, spent_usd numeric, was_ended boolean)
  LANGUAGE sql STABLE
AS $$
  SELECT CASE WHEN q.period_end <= pg_catalog.now() AND q.lease_of IS NOT NULL THEN q.reserved_usd ELSE q.limit_usd END,
         CASE WHEN q.topup_expires_at <= pg_catalog.now() OR (q.topup_expires_at IS NOT NULL AND q.period_end <= pg_catalog.now())
                THEN (copilot_internal.topups_at(q, pg_catalog.now())).topup_usd
              WHEN q.period_end <= pg_catalog.now() THEN 0 ELSE q.topup_usd END,
         CASE WHEN q.topup_expires_at <= pg_catalog.now() OR (q.topup_expires_at IS NOT NULL AND q.period_end <= pg_catalog.now())
                THEN q.limit_usd + (copilot_internal.topups_at(q, pg_catalog.now())).topup_usd
              WHEN q.period_end > pg_catalog.now() THEN q.limit_usd + q.topup_usd
              WHEN q.lease_of IS NOT NULL THEN q.reserved_usd ELSE q.limit_usd END,
         CASE WHEN q.period_end <= pg_catalog.now() THEN 0 ELSE q.current_spend_usd END,
         q.period_end <= pg_catalog.now()
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.current_quota(copilot_internal.cost_quotas) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.current_quota(copilot_internal.cost_quotas) TO spendlock_app;
