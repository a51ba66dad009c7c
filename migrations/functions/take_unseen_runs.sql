-- Running rows that nobody has seen for so long, the longest unseen first, of runs that were started in this namespace of
-- Temporal; one that does not say where only while all that say so name this one. They count as seen from now on; whoever looks
-- their workflow up ends those that have none, unless they were seen again meanwhile.
CREATE OR REPLACE FUNCTION copilot_internal.take_unseen_runs(p_unseen_for interval, p_max integer, p_namespace text)
  RETURNS TABLE (tenant_id text, run_id uuid, workflow_id text, seen_at text)
  LANGUAGE sql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  UPDATE runs r SET seen_at = clock_timestamp()
  FROM (
    SELECT u.run_id FROM runs u
    WHERE u.status = 'running' AND u.seen_at < clock_timestamp() - p_unseen_for
      AND (u.namespace = p_namespace OR u.namespace IS NULL AND (
        SELECT min(n.namespace) = p_namespace AND max(n.namespace) = p_namespace FROM runs n WHERE n.namespace IS NOT NULL))
    ORDER BY u.seen_at LIMIT p_max FOR NO KEY UPDATE SKIP LOCKED
  ) AS unseen
  WHERE r.run_id = unseen.run_id
  RETURNING r.tenant_id, r.run_id, r.workflow_id, r.seen_at::text
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.take_unseen_runs(interval, integer, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.take_unseen_runs(interval, integer, text) TO spendlock_app;

-- The same in every namespace, for processes of the version before.
CREATE OR REPLACE FUNCTION copilot_internal.take_unseen_runs(p_unseen_for interval, p_max integer)
  RETURNS TABLE (tenant_id text, run_id uuid, workflow_id text, seen_at text)
  LANGUAGE sql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  UPDATE runs r SET seen_at = clock_timestamp()
  FROM (
    SELECT u.run_id FROM runs u WHERE u.status = 'running' AND u.seen_at < clock_timestamp() - p_unseen_for
    ORDER BY u.seen_at LIMIT p_max FOR NO KEY UPDATE SKIP LOCKED
  ) AS unseen
  WHERE r.run_id = unseen.run_id
  RETURNING r.tenant_id, r.run_id, r.workflow_id, r.seen_at::text
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.take_unseen_runs(interval, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.take_unseen_runs(interval, integer) TO spendlock_app;
