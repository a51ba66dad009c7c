-- Up Migration
-- A decision costs what it concerns, however many users a tenant has: the period of a user's quotas begins anew when something of that
-- user is decided. All of them in the first decision of a month passed its time, each time, so that the tenant stood still for good.
-- Whoever reads a quota in between reads it as the next decision will find it.
SET LOCAL ROLE spendlock_owner;

-- Those of the tenant and of these users; of all users for who does not say which, as the version before.
DROP FUNCTION copilot_internal.reset_ended_periods(text, timestamptz);
CREATE FUNCTION copilot_internal.reset_ended_periods(p_tenant_id text, p_now timestamptz, p_user_ids text[] DEFAULT NULL) RETURNS void
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

-- Each is as it was, but for whose quotas it looks at. Said so that an index finds them.
DO $fewer$
DECLARE
  v_change record;
  v_text text;
BEGIN
  FOR v_change IN SELECT * FROM (VALUES
    ('lock_quotas', '(scope <> ''user'' OR scope_id = ANY (p_user_ids))',
      '(scope IN (''platform'', ''tenant'') OR (scope = ''user'' AND scope_id = ANY (p_user_ids)))'),
    ('apply_quota_changes', '(q.scope <> ''user'' OR q.scope_id = c."userId")',
      '(q.scope IN (''platform'', ''tenant'') OR (q.scope = ''user'' AND q.scope_id = c."userId"))'),
    ('load_budget_batch', '(q.scope <> ''user'' OR q.scope_id = ANY (v_user_ids))',
      '(q.scope IN (''platform'', ''tenant'') OR (q.scope = ''user'' AND q.scope_id = ANY (v_user_ids)))'),
    ('load_budget_batch',
      'IF EXISTS (SELECT FROM cost_quotas WHERE tenant_id = p_tenant_id AND period_end <= v_now) THEN
    PERFORM reset_ended_periods(p_tenant_id, v_now);',
      'IF EXISTS (SELECT FROM cost_quotas WHERE tenant_id = p_tenant_id AND period_end <= v_now
    AND (scope IN (''platform'', ''tenant'') OR (scope = ''user'' AND scope_id = ANY (v_user_ids)))) THEN
    PERFORM reset_ended_periods(p_tenant_id, v_now, v_user_ids);'),
    ('check_and_record_quota_atomic', 'reset_ended_periods(p_tenant_id, clock_timestamp())',
      'reset_ended_periods(p_tenant_id, clock_timestamp(), v_user_ids)'),
    ('adjust_cost', 'reset_ended_periods(p_tenant_id, clock_timestamp())',
      'reset_ended_periods(p_tenant_id, clock_timestamp(), ARRAY(
    SELECT user_id FROM reservations WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id AND user_id IS NOT NULL))')
  ) AS c (name, was, becomes) LOOP
    v_text := (SELECT pg_get_functiondef(oid) FROM pg_proc
               WHERE proname = v_change.name AND pronamespace = 'copilot_internal'::regnamespace);
    IF position(v_change.was IN v_text) = 0 THEN
      RAISE EXCEPTION '% does not say what is to be changed: %', v_change.name, v_change.was;
    END IF;
    EXECUTE replace(v_text, v_change.was, v_change.becomes);
  END LOOP;
END
$fewer$;

RESET ROLE;
