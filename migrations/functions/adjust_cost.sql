-- Corrects what an operation cost, by an entry of the difference in the period of the entry that it corrects. After it the cost
-- is known in whole: one that changes nothing but that an estimate is known is an entry too. Answers the difference, or null
-- when the operation has no cost on record, or an outcome that is not folded yet.
CREATE OR REPLACE FUNCTION copilot_internal.adjust_cost(p_tenant_id text, p_operation_id uuid, p_cost_usd numeric, p_reason text,
    p_author text)
  RETURNS numeric
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_row reservations;
  v_entry cost_records;
  v_difference numeric;
  v_unverified numeric;
BEGIN
  PERFORM lock_quotas(p_tenant_id, ARRAY(
    SELECT user_id FROM reservations WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id AND user_id IS NOT NULL));
  PERFORM reset_ended_periods(p_tenant_id, clock_timestamp(), ARRAY(
    SELECT user_id FROM reservations WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id AND user_id IS NOT NULL));
  SELECT * INTO v_row FROM reservations WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id FOR UPDATE;
  SELECT * INTO v_entry FROM costs_of(p_tenant_id, p_operation_id) ORDER BY cost_record_id LIMIT 1;
  IF v_row IS NULL OR v_entry IS NULL OR (v_row.outcome IS NOT NULL AND NOT v_row.outcome_folded) THEN
    RETURN NULL;
  END IF;
  SELECT p_cost_usd - sum(amount_usd), sum(unverified_usd) INTO v_difference, v_unverified
  FROM costs_of(p_tenant_id, p_operation_id);
  IF v_difference <> 0 OR v_unverified <> 0 THEN
    INSERT INTO cost_records (tenant_id, operation_id, entry, user_id, run_id, kind, resource, model, price_version,
      amount_usd, estimated_usd, settlement, posted_at, reason, author, labels, decision_no)
    VALUES (p_tenant_id, p_operation_id, 'adjustment', v_entry.user_id, v_entry.run_id, v_entry.kind, v_entry.resource,
      v_entry.model, v_entry.price_version, v_difference, v_entry.estimated_usd, 'actual', v_entry.posted_at, p_reason, p_author,
      v_entry.labels, nextval('decision_numbers'));
    PERFORM apply_quota_changes(p_tenant_id, jsonb_build_array(jsonb_build_object('sequence', 0, 'userId', v_entry.user_id,
      'resource', v_entry.resource, 'reservedDeltaUsd', 0, 'spentDeltaUsd', v_difference, 'postedAt', v_entry.posted_at,
      'grant', false, 'enforced', false)));
    IF jsonb_typeof(v_entry.labels) = 'object' THEN
      PERFORM apply_label_quotas(p_tenant_id, jsonb_build_array(jsonb_build_object('labels', v_entry.labels, 'resource', v_entry.resource,
        'reserved_usd', 0, 'spent_usd', v_difference, 'posted_at', v_entry.posted_at, 'is_grant', false)), '[]', false);
    END IF;
    IF v_row.limit_ids IS NOT NULL THEN
      PERFORM apply_run_limits(p_tenant_id, jsonb_build_array(jsonb_build_object('limit_ids', v_row.limit_ids, 'reserved_usd', 0,
        'spent_usd', v_difference, 'is_grant', false)), '[]');
    END IF;
  END IF;
  UPDATE reservations SET settlement = 'actual', committed_usd = p_cost_usd,
    overrun_usd = nullif(greatest(p_cost_usd - granted_usd, 0), 0)
  WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id AND status = 'committed';
  UPDATE reservations SET outcome_unverified = false
  WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id AND outcome_unverified;
  RETURN v_difference;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.adjust_cost(text, uuid, numeric, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.adjust_cost(text, uuid, numeric, text, text) TO spendlock_app;
