-- What a quota is topped up by at a later moment, if nothing is decided until then. The limit itself is spent first, then what is spent or
-- held of top-ups that have expired, then the others, the first to expire first; one that expires with the period comes before those that
-- outlive it. One that expires takes what is unused of it, and what is left of one that outlives its period goes on into the next.
-- `standsAt` in core/budget/top-ups.ts is the same rule.
CREATE OR REPLACE FUNCTION copilot_internal.topups_at(q copilot_internal.cost_quotas, p_at timestamptz,
    OUT topup_usd numeric, OUT kept_usd numeric, OUT expiring jsonb, OUT expires_at timestamptz)
  LANGUAGE plpgsql STABLE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_is_over boolean := q.period_end <= p_at;
  v_period_start timestamptz;
  v_spent_usd numeric := q.current_spend_usd;
  v_until_period_end_usd numeric;
  -- What those that outlive the period have paid of what was spent in it; null before its end.
  v_paid_usd numeric;
  v_left_usd numeric;
  v_expiring_usd numeric := 0;
  v_topup record;
BEGIN
  kept_usd := q.topup_kept_usd;
  v_until_period_end_usd := q.topup_usd - q.topup_kept_usd - coalesce((
    SELECT sum("amountUsd") FROM jsonb_to_recordset(q.expiring_topups) AS t ("amountUsd" numeric)), 0);
  IF v_is_over THEN
    SELECT b.period_start INTO v_period_start FROM period_bounds(q.period, p_at) AS b;
  END IF;
  FOR v_topup IN
    SELECT t."amountUsd" AS amount_usd, t."expiresAt" AS expires_at
    FROM jsonb_to_recordset(q.expiring_topups) AS t ("amountUsd" numeric, "expiresAt" timestamptz) ORDER BY t."expiresAt"
  LOOP
    IF v_is_over AND v_paid_usd IS NULL AND v_topup.expires_at > q.period_end THEN
      v_paid_usd := greatest(v_spent_usd - q.limit_usd - kept_usd - v_until_period_end_usd, 0);
      v_spent_usd := 0;
      kept_usd := 0;
      v_until_period_end_usd := 0;
    END IF;
    v_left_usd := greatest(v_topup.amount_usd - coalesce(v_paid_usd, 0), 0);
    IF v_paid_usd IS NOT NULL THEN
      v_paid_usd := greatest(v_paid_usd - v_topup.amount_usd, 0);
    END IF;
    IF v_topup.expires_at > p_at THEN
      IF v_left_usd > 0 THEN
        expiring := coalesce(expiring, '[]') || jsonb_build_object('amountUsd', trim_scale(v_left_usd)::text, 'expiresAt', v_topup.expires_at);
        expires_at := coalesce(expires_at, v_topup.expires_at);
        v_expiring_usd := v_expiring_usd + v_left_usd;
      END IF;
    ELSIF v_paid_usd IS NULL OR v_topup.expires_at > v_period_start THEN
      kept_usd := kept_usd + least(v_left_usd, greatest(v_spent_usd + q.reserved_usd - q.limit_usd - kept_usd, 0));
    END IF;
  END LOOP;
  IF v_is_over AND v_paid_usd IS NULL THEN
    kept_usd := 0;
    v_until_period_end_usd := 0;
  END IF;
  topup_usd := kept_usd + v_until_period_end_usd + v_expiring_usd;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.topups_at(copilot_internal.cost_quotas, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.topups_at(copilot_internal.cost_quotas, timestamptz) TO spendlock_app;
