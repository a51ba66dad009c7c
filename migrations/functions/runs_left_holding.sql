-- Runs that ended so long ago, of all tenants, of which a step still holds money that it did not begin to use: what was to give it back
-- was lost with the authority that had heard of it, or with the last second of a Postgres. What says no attempt is of a caller.
CREATE OR REPLACE FUNCTION copilot_internal.runs_left_holding(p_ended_for interval, p_max integer)
  RETURNS TABLE (tenant_id text, run_id uuid)
  LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT DISTINCT r.tenant_id, r.run_id
  FROM reservations r
  JOIN runs u ON u.tenant_id = r.tenant_id AND u.run_id = r.run_id
  WHERE r.status = 'granted' AND r.claimed_at IS NULL AND r.attempt IS NOT NULL
    AND u.status <> 'running' AND u.ended_at < clock_timestamp() - p_ended_for
  LIMIT p_max
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.runs_left_holding(interval, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.runs_left_holding(interval, integer) TO spendlock_app;
