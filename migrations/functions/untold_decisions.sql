-- Decisions of open runs that were made so long ago and that nobody told their workflow of, the oldest first.
CREATE OR REPLACE FUNCTION copilot_internal.untold_decisions(p_for interval, p_max integer)
  RETURNS TABLE (tenant_id text, approval_id uuid, workflow_id text)
  LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT a.tenant_id, a.approval_id, r.workflow_id
  FROM approvals a JOIN runs r ON r.run_id = a.run_id AND r.status = 'running'
  WHERE a.told_at IS NULL AND a.status IN ('approved', 'refused', 'answered') AND a.decided_at < clock_timestamp() - p_for
  ORDER BY a.decided_at LIMIT p_max
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.untold_decisions(interval, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.untold_decisions(interval, integer) TO spendlock_app;
