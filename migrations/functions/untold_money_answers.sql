-- Answers to requests for money whose step still waits, that were given so long ago, and that its workflow has neither heard of nor was
-- signalled, the oldest first.
CREATE OR REPLACE FUNCTION copilot_internal.untold_money_answers(p_for interval, p_max integer)
  RETURNS TABLE (tenant_id text, request_id uuid, workflow_id text)
  LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT r.tenant_id, r.request_id, r.workflow_id
  FROM money_waiters w JOIN money_requests r ON r.waiter_id = w.waiter_id
  WHERE r.status IN ('granted', 'refused') AND r.told_to IS NULL AND r.signalled_at IS NULL AND r.decided_at < clock_timestamp() - p_for
  ORDER BY r.decided_at LIMIT p_max
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.untold_money_answers(interval, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.untold_money_answers(interval, integer) TO spendlock_app;
