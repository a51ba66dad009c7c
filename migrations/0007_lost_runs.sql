-- Up Migration
-- A run is a row before it is a workflow, and the process between the two may die; an operator may terminate a workflow, whose row
-- then never ends by itself. So each running row remembers when its workflow was last asked for or seen.
SET LOCAL ROLE spendlock_owner;

ALTER TABLE copilot_internal.runs ADD COLUMN seen_at timestamptz NOT NULL DEFAULT clock_timestamp();
CREATE INDEX runs_unseen ON copilot_internal.runs (seen_at) WHERE status = 'running';

-- Running rows that nobody has seen for so long, the longest unseen first. They count as seen from now on; whoever looks
-- their workflow up ends those that have none, unless they were seen again meanwhile.
CREATE FUNCTION copilot_internal.take_unseen_runs(p_unseen_for interval, p_max integer)
  RETURNS TABLE (tenant_id text, run_id uuid, workflow_id text, seen_at text)
  LANGUAGE sql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  UPDATE runs r SET seen_at = clock_timestamp()
  FROM (
    SELECT u.run_id FROM runs u WHERE u.status = 'running' AND u.seen_at < clock_timestamp() - p_unseen_for
    ORDER BY u.seen_at LIMIT p_max FOR UPDATE SKIP LOCKED
  ) AS unseen
  WHERE r.run_id = unseen.run_id
  RETURNING r.tenant_id, r.run_id, r.workflow_id, r.seen_at::text
$$;

REVOKE EXECUTE ON FUNCTION copilot_internal.take_unseen_runs(interval, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.take_unseen_runs(interval, integer) TO spendlock_app;
RESET ROLE;
