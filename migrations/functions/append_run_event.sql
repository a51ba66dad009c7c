-- Appends one event; a repeated key changes nothing. The run's row is locked so that numbers follow commit order.
CREATE OR REPLACE FUNCTION copilot_internal.append_run_event(p_run_id uuid, p_event_key text, p_type text, p_data jsonb) RETURNS void
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_tenant_id text;
BEGIN
  SELECT tenant_id INTO v_tenant_id FROM runs WHERE run_id = p_run_id FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  INSERT INTO run_events (run_id, tenant_id, sequence, event_key, type, data)
  SELECT p_run_id, v_tenant_id, coalesce(max(sequence), 0) + 1, p_event_key, p_type, p_data
  FROM run_events WHERE run_id = p_run_id
  ON CONFLICT (run_id, event_key) DO NOTHING;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.append_run_event(uuid, text, text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.append_run_event(uuid, text, text, jsonb) TO spendlock_app;
