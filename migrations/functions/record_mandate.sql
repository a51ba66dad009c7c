-- What a decision means for its tenant's mandate; under the locks of load_budget_batch, called by record_budget_batch.
--
-- Decided under the mandate (spendlock.mandate_rules names its rules): it adds to the account and marks what it leaves for the
-- authority to do. Without a mandate it is refused as a whole (SL001): whoever decides is not trusted to have looked.
-- Decided by the authority (p_authority names its rules, and whether it opens a mandate or closes it, for somebody who waits for the
-- platform's money): it prolongs or closes, takes what was left, and says when to look again.
-- Decided by an authority of the version before, or of one that gives no mandates: it closes.
CREATE OR REPLACE FUNCTION copilot_internal.record_mandate(p_tenant_id text, p_authority jsonb, p_account jsonb, p_left jsonb)
  RETURNS jsonb
  LANGUAGE plpgsql
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_now timestamptz := clock_timestamp();
  v_rules text := nullif(current_setting('spendlock.mandate_rules', true), '');
  v_wake_up_at timestamptz := to_timestamp((p_left ->> 'nextWakeUpMs')::numeric / 1000);
  v_urgent boolean := (p_left ->> 'urgent')::boolean;
  v_awaited boolean := coalesce((p_left ->> 'awaited')::boolean, false);
  v_row mandates;
  v_mandate interval := interval '5 minutes';
  -- An authority looks that often while others decide, and so has the account of them.
  v_look interval := interval '1 minute';
BEGIN
  IF v_rules IS NOT NULL THEN
    UPDATE mandates SET
      granted = granted + (p_account ->> 'granted')::bigint, denied = denied + (p_account ->> 'denied')::bigint,
      granted_usd = granted_usd + (p_account ->> 'grantedUsd')::numeric,
      left_at = coalesce(left_at, v_now),
      needed_at = CASE WHEN v_urgent OR v_awaited OR v_wake_up_at < wake_up_at THEN coalesce(needed_at, v_now) ELSE needed_at END
    WHERE tenant_id = p_tenant_id AND is_mandated(p_tenant_id, v_rules)
    RETURNING * INTO v_row;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'reservation_guard: tenant % has no mandate for the rules %; nothing was recorded', p_tenant_id, v_rules
        USING ERRCODE = 'SL001';
    END IF;
    RETURN jsonb_build_object('leaves', CASE WHEN v_urgent THEN 'now'
      WHEN v_awaited OR v_wake_up_at < v_row.wake_up_at THEN 'soon' END);
  END IF;

  IF p_authority IS NULL THEN
    UPDATE mandates SET open_until = NULL WHERE tenant_id = p_tenant_id AND open_until IS NOT NULL;
    RETURN NULL;
  END IF;
  INSERT INTO mandates AS m (tenant_id, open_until, rules, wake_up_at)
  SELECT p_tenant_id, v_now + v_mandate, p_authority ->> 'rules', least(v_wake_up_at, v_now + v_look)
  WHERE (p_authority ->> 'opens')::boolean OR EXISTS (SELECT FROM mandates WHERE tenant_id = p_tenant_id)
  ON CONFLICT (tenant_id) DO UPDATE SET
    open_until = CASE WHEN m.barred_at IS NOT NULL OR (p_authority ->> 'closes')::boolean THEN NULL
      -- What was decided since it was last looked at is a reason to prolong it.
      WHEN (p_authority ->> 'opens')::boolean OR (m.open_until > v_now AND m.rules = excluded.rules AND m.left_at IS NOT NULL) THEN excluded.open_until
      WHEN m.rules = excluded.rules THEN m.open_until END,
    rules = excluded.rules, wake_up_at = excluded.wake_up_at, left_at = NULL, needed_at = NULL
  RETURNING * INTO v_row;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  RETURN jsonb_build_object('openUntilMs', floor(extract(epoch FROM v_row.open_until) * 1000), 'barred', v_row.barred_at IS NOT NULL,
      'granted', v_row.granted, 'denied', v_row.denied, 'grantedUsd', trim_scale(v_row.granted_usd)::text)
    || CASE WHEN v_row.open_until > v_now
      THEN jsonb_build_object('nextWakeUpMs', floor(extract(epoch FROM v_row.wake_up_at) * 1000)) ELSE '{}' END;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.record_mandate(text, jsonb, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.record_mandate(text, jsonb, jsonb, jsonb) TO spendlock_app;
