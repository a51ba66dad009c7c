-- Up Migration
-- A claim makes its reservation last as long as the call may. The time ran from the decision: a call that began late could be
-- overtaken by the expiry of its own reservation. Workers of the version before call it with three arguments and get the time
-- that the reservation was asked for, from the claim on.
SET LOCAL ROLE spendlock_owner;

DROP FUNCTION copilot_internal.claim_reservation(text, uuid, uuid);
-- A repeat of the same token changes nothing.
CREATE FUNCTION copilot_internal.claim_reservation(p_tenant_id text, p_operation_id uuid, p_claim_token uuid,
  p_call_seconds numeric DEFAULT NULL) RETURNS numeric
  LANGUAGE sql
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  UPDATE reservations
  SET claimed_at = coalesce(claimed_at, clock_timestamp()), claim_token = p_claim_token,
      expires_at = CASE WHEN claimed_at IS NULL THEN greatest(expires_at, clock_timestamp() + greatest(expires_at - decided_at,
        make_interval(secs => p_call_seconds::double precision))) ELSE expires_at END
  WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id AND status = 'granted'
    AND expires_at > clock_timestamp() AND (claim_token IS NULL OR claim_token = p_claim_token)
  RETURNING CASE WHEN unreserved THEN requested_usd ELSE granted_usd END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.claim_reservation(text, uuid, uuid, numeric) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.claim_reservation(text, uuid, uuid, numeric) TO spendlock_app;

RESET ROLE;
