-- Conversations whose next message waits although nobody was told, or not in time: a process may have died in between.
CREATE OR REPLACE FUNCTION copilot_internal.unanswered_conversations(p_for interval, p_max integer)
  RETURNS TABLE (tenant_id text, run_id uuid, workflow_id text, turn_id uuid)
  LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT DISTINCT ON (t.run_id) t.tenant_id, t.run_id, r.workflow_id, t.turn_id
  FROM turns t JOIN runs r ON r.run_id = t.run_id AND r.status = 'running'
  WHERE t.status = 'queued' AND t.created_at < clock_timestamp() - p_for
    AND NOT EXISTS (SELECT FROM turns b WHERE b.run_id = t.run_id AND b.status = 'running')
  ORDER BY t.run_id, t.number LIMIT p_max
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.unanswered_conversations(interval, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.unanswered_conversations(interval, integer) TO spendlock_app;
