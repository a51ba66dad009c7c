-- What callers outside Temporal say of their calls: for each operation the cost ("costUsd"), or that surely nothing was
-- billed (no cost). A claim that is not theirs keeps them out; a first outcome stands, except that a cost replaces "not
-- billed". Where it says how much a call has to have been granted for its cost ("grantAboveUsd"), a cost of one that was granted no more
-- is not written; nor is one of an envelope, whose parts cost something. Answers for each how the row stood before, and whether the outcome was written. The authority folds it.
CREATE OR REPLACE FUNCTION copilot_internal.record_outcomes(p_tenant_id text, p_items jsonb) RETURNS jsonb
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_operation_ids uuid[] := ARRAY(
    SELECT (item ->> 'operationId')::uuid FROM jsonb_array_elements(p_items) AS item);
  v_answers jsonb;
BEGIN
  PERFORM set_config('spendlock.tenant_id', p_tenant_id, true);
  PERFORM 1 FROM reservations
  WHERE tenant_id = p_tenant_id AND operation_id = ANY (v_operation_ids)
  ORDER BY operation_id FOR UPDATE;
  WITH found AS MATERIALIZED (
    SELECT i.*, r.status, r.outcome, r.outcome_usd,
           r.resource IS NOT NULL AND r.status IN ('granted', 'committed', 'released', 'expired')
             AND (r.claim_token IS NULL OR i."claimToken" IS NOT DISTINCT FROM r.claim_token OR i."anyClaim")
             AND (r.outcome IS NULL OR (r.outcome = 'not_billed' AND i."costUsd" IS NOT NULL))
             AND (i."costUsd" IS NOT NULL OR r.status = 'granted') AND (i."costUsd" IS NULL OR r.envelope_usd IS NULL) AS writes,
           r.claim_token IS NOT NULL AND i."claimToken" IS DISTINCT FROM r.claim_token AND i."anyClaim" IS NOT TRUE AS claimed_elsewhere,
           -- What was let through without a grant has what it was allowed then, whatever the limits are now. A process of the version before
           -- did not note that: no more than a limit would have been granted.
           CASE WHEN i."grantAboveUsd" IS NULL THEN NULL WHEN NOT r.unreserved THEN r.granted_usd
                ELSE coalesce(r.allowed_usd, least(r.requested_usd, limit_of_call(p_tenant_id, r.user_id, r.resource))) END AS granted_usd
    FROM jsonb_to_recordset(p_items) AS i (
           "operationId" uuid, "costUsd" numeric, "claimToken" uuid, "anyClaim" boolean, "grantAboveUsd" numeric, usage jsonb,
           result jsonb)
    LEFT JOIN reservations r
      ON r.tenant_id = p_tenant_id AND r.operation_id = ANY (v_operation_ids) AND r.operation_id = i."operationId"
  ), asked AS MATERIALIZED (
    SELECT f.*, f.writes AND coalesce(f.granted_usd <= f."grantAboveUsd", false) AS unconfirmed FROM found f
  ), written AS (
    UPDATE reservations r
    SET claimed_at = coalesce(r.claimed_at, clock_timestamp()),
        outcome = CASE WHEN a."costUsd" IS NULL THEN 'not_billed' ELSE 'billed' END, outcome_usd = a."costUsd",
        outcome_usage = a.usage, outcome_result = a.result, outcome_at = clock_timestamp(), outcome_folded = false
    FROM asked a
    WHERE a.writes AND NOT a.unconfirmed AND r.tenant_id = p_tenant_id AND r.operation_id = ANY (v_operation_ids)
      AND r.operation_id = a."operationId"
    RETURNING 1)
  SELECT coalesce(jsonb_agg(jsonb_build_object('operationId', a."operationId", 'status', a.status, 'outcome', a.outcome,
    'outcomeUsd', trim_scale(a.outcome_usd)::text, 'written', coalesce(a.writes AND NOT a.unconfirmed, false),
    'unconfirmedAtUsd', CASE WHEN a.unconfirmed THEN trim_scale(a.granted_usd)::text END,
    'claimedElsewhere', coalesce(a.claimed_elsewhere, false))), '[]')
  INTO v_answers FROM asked a;
  RETURN v_answers;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.record_outcomes(text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.record_outcomes(text, jsonb) TO spendlock_app;
