-- Forgets the events of runs that ended before a moment. Answers of how many runs.
CREATE OR REPLACE FUNCTION copilot_internal.forget_events(p_ended_before timestamptz, p_max integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_runs uuid[] := ARRAY(
    SELECT run_id FROM runs WHERE ended_at < p_ended_before AND events_forgotten_at IS NULL
    ORDER BY ended_at LIMIT p_max FOR NO KEY UPDATE SKIP LOCKED);
BEGIN
  DELETE FROM run_events WHERE run_id = ANY (v_runs);
  UPDATE runs SET events_forgotten_at = clock_timestamp() WHERE run_id = ANY (v_runs);
  RETURN cardinality(v_runs);
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.forget_events(timestamptz, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.forget_events(timestamptz, integer) TO spendlock_app;
