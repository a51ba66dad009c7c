-- The outcome of a paid call: once, by whoever claimed it. `p_unverified` says that it is only a part of what was billed. A
-- repeat of the same token changes nothing. True when it is (or was) recorded.
CREATE OR REPLACE FUNCTION copilot_internal.record_outcome(p_tenant_id text, p_operation_id uuid, p_claim_token uuid, p_outcome text,
    p_cost_usd numeric, p_usage jsonb, p_result jsonb, p_unverified boolean)
  RETURNS boolean
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  WITH written AS (
    UPDATE reservations
    SET outcome = p_outcome, outcome_usd = p_cost_usd, outcome_usage = p_usage, outcome_result = p_result,
        outcome_unverified = p_unverified, outcome_at = clock_timestamp()
    WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id AND claim_token = p_claim_token AND outcome IS NULL
    RETURNING 1)
  SELECT EXISTS (SELECT FROM written) OR EXISTS (
    SELECT FROM reservations
    WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id AND claim_token = p_claim_token AND outcome IS NOT NULL)
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.record_outcome(text, uuid, uuid, text, numeric, jsonb, jsonb, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.record_outcome(text, uuid, uuid, text, numeric, jsonb, jsonb, boolean) TO spendlock_app;

-- The same for processes of the version before, which know every cost in whole.
CREATE OR REPLACE FUNCTION copilot_internal.record_outcome(p_tenant_id text, p_operation_id uuid, p_claim_token uuid, p_outcome text,
    p_cost_usd numeric, p_usage jsonb, p_result jsonb)
  RETURNS boolean
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT record_outcome(p_tenant_id, p_operation_id, p_claim_token, p_outcome, p_cost_usd, p_usage, p_result, false)
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.record_outcome(text, uuid, uuid, text, numeric, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.record_outcome(text, uuid, uuid, text, numeric, jsonb, jsonb) TO spendlock_app;
