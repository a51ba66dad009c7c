-- Stores a message at the end of its conversation's queue and answers its turn; a repeat answers the same. No row when the
-- conversation is not the tenant's or has ended.
CREATE OR REPLACE FUNCTION copilot_internal.add_turn(p_run_id uuid, p_turn_id uuid, p_message text)
  RETURNS TABLE (turn_id uuid, number integer, status text, after_sequence integer)
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
#variable_conflict use_column
DECLARE
  v_tenant_id text;
BEGIN
  SELECT r.tenant_id INTO v_tenant_id FROM runs r
  WHERE r.run_id = p_run_id AND r.type = 'conversation' AND r.status = 'running' FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  INSERT INTO turns (turn_id, run_id, tenant_id, number, message)
  SELECT p_turn_id, p_run_id, v_tenant_id, coalesce(max(t.number), 0) + 1, p_message FROM turns t WHERE t.run_id = p_run_id
  ON CONFLICT (turn_id) DO NOTHING;
  RETURN QUERY
    SELECT t.turn_id, t.number, t.status,
           (SELECT coalesce(max(e.sequence), 0) FROM run_events e WHERE e.run_id = p_run_id AND e.created_at < t.created_at)
    FROM turns t WHERE t.turn_id = p_turn_id AND t.run_id = p_run_id;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.add_turn(uuid, uuid, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.add_turn(uuid, uuid, text) TO spendlock_app;
