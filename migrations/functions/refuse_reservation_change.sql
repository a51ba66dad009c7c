-- Refuses what may not become of a reservation (SL001), of every change of the application role, whichever function makes it:
-- whose row it is, what was asked for and what was granted never change, but for the rest of an open envelope; it ends once, and stays ended; what the provider
-- billed is written once, folded once, and stays folded. The condition is the trigger's, so that a change that is allowed calls
-- nothing.
CREATE OR REPLACE FUNCTION copilot_internal.refuse_reservation_change() RETURNS trigger
  LANGUAGE plpgsql
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  RAISE EXCEPTION 'reservation_guard: the reservation % of % is % and cannot become what was asked (%); nothing was recorded',
    OLD.operation_id, OLD.tenant_id, OLD.status, NEW.status USING ERRCODE = 'SL001';
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.refuse_reservation_change() FROM PUBLIC;

CREATE OR REPLACE TRIGGER refuse_reservation_change BEFORE UPDATE ON copilot_internal.reservations FOR EACH ROW
  WHEN (current_user = 'spendlock_app' AND NOT (
    (NEW.tenant_id, NEW.operation_id, NEW.user_id, NEW.run_id, NEW.resource, NEW.requested_usd, NEW.minimum_usd,
      NEW.unreserved, NEW.allowed_usd, NEW.limit_ids, NEW.decided_at, NEW.parent_id, NEW.held_on, NEW.envelope_usd)
    IS NOT DISTINCT FROM
    (OLD.tenant_id, OLD.operation_id, OLD.user_id, OLD.run_id, OLD.resource, OLD.requested_usd, OLD.minimum_usd,
      OLD.unreserved, OLD.allowed_usd, OLD.limit_ids, OLD.decided_at, OLD.parent_id, OLD.held_on, OLD.envelope_usd)
    AND (NEW.granted_usd IS NOT DISTINCT FROM OLD.granted_usd OR (OLD.status = 'granted' AND NEW.granted_usd <= OLD.envelope_usd) IS TRUE)
    AND (OLD.status = 'granted' OR NEW.returned_usd IS NOT DISTINCT FROM OLD.returned_usd)
    AND (NEW.status = OLD.status OR (OLD.status = 'granted' AND NEW.status IN ('committed', 'released', 'expired')))
    AND (OLD.ended_at IS NULL OR NEW.ended_at IS NOT DISTINCT FROM OLD.ended_at)
    AND (NEW.ended_at IS NULL) = (NEW.status IN ('granted', 'denied', 'rejected'))
    AND (OLD.posted_at IS NULL OR NEW.posted_at IS NOT DISTINCT FROM OLD.posted_at)
    AND (OLD.status <> 'granted' OR NEW.status <> 'granted' OR NEW.expires_at >= OLD.expires_at)
    AND (OLD.settlement IS NOT DISTINCT FROM NEW.settlement OR OLD.settlement IS NULL
      OR (OLD.settlement = 'unverified' AND NEW.settlement = 'actual'))
    AND ((NEW.outcome, NEW.outcome_usd) IS NOT DISTINCT FROM (OLD.outcome, OLD.outcome_usd)
      OR OLD.outcome IS NULL OR (OLD.outcome = 'not_billed' AND NEW.outcome = 'billed'))
    AND (NOT NEW.outcome_folded OR NEW.outcome IS NOT NULL)
    AND (NEW.outcome_folded OR NOT OLD.outcome_folded OR NEW.outcome IS DISTINCT FROM OLD.outcome)
  ))
  EXECUTE FUNCTION copilot_internal.refuse_reservation_change();
