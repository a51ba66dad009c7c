-- The claim, which comes before the call: once, for a granted and unexpired reservation of which no outcome is told: one that was given
-- back is granted until a decision folds that, and its money is somebody else's then; and for no envelope, whose parts are claimed. It makes the reservation last once
-- more as long as it was asked for, so that a call that begins late is not overtaken by its expiry. A token that claimed it
-- before may ask again, and changes nothing. Answers what may be spent (what goes on without a grant may spend what it was
-- allowed), or null when there is nothing to spend.
CREATE OR REPLACE FUNCTION copilot_internal.claim_reservation(p_tenant_id text, p_operation_id uuid, p_claim_token uuid)
  RETURNS numeric
  LANGUAGE sql
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  UPDATE reservations
  SET claimed_at = coalesce(claimed_at, clock_timestamp()), claim_token = p_claim_token,
      expires_at = CASE WHEN claimed_at IS NULL
        THEN greatest(expires_at, clock_timestamp() + (expires_at - decided_at)) ELSE expires_at END
  WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id AND status = 'granted'
    AND outcome IS NULL AND expires_at > clock_timestamp() AND (claim_token IS NULL OR claim_token = p_claim_token)
    AND envelope_usd IS NULL
  RETURNING CASE WHEN unreserved THEN coalesce(allowed_usd, requested_usd) ELSE granted_usd END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.claim_reservation(text, uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.claim_reservation(text, uuid, uuid) TO spendlock_app;
