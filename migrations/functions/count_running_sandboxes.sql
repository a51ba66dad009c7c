-- Windows of sandboxes that are paid for now: one for each sandbox that runs.
CREATE OR REPLACE FUNCTION copilot_internal.count_running_sandboxes() RETURNS integer
  LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT count(*)::integer FROM reservations
  WHERE status = 'granted' AND outcome IS NULL AND kind LIKE 'sandbox.%' AND claimed_at IS NOT NULL
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.count_running_sandboxes() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.count_running_sandboxes() TO spendlock_app;
