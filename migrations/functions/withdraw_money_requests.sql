-- A wait for money that is over, however it came to that, and whoever ended it, has nothing to ask of people any more.
CREATE OR REPLACE FUNCTION copilot_internal.withdraw_money_requests() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  UPDATE money_requests SET status = 'withdrawn', decided_at = clock_timestamp() WHERE waiter_id = OLD.waiter_id AND status = 'pending';
  RETURN NULL;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.withdraw_money_requests() FROM PUBLIC;

CREATE OR REPLACE TRIGGER withdraw_money_requests AFTER DELETE ON copilot_internal.money_waiters
  FOR EACH ROW EXECUTE FUNCTION copilot_internal.withdraw_money_requests();
