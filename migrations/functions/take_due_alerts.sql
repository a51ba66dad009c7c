-- Takes alerts of all tenants that are due, of the kinds that the sender has words for. Nobody else gets them for as long as p_lease; who does
-- not say until then what became of one has ended, and it is tried again.
CREATE OR REPLACE FUNCTION copilot_internal.take_due_alerts(p_max integer, p_lease interval, p_kinds text[])
  RETURNS TABLE (alert_id uuid, tenant_id text, kind text, threshold numeric, details jsonb, tries integer)
  LANGUAGE sql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  UPDATE quota_alerts a SET tries = a.tries + 1, next_try_at = clock_timestamp() + p_lease
  FROM (
    SELECT u.alert_id FROM quota_alerts u WHERE u.sent_at IS NULL AND u.next_try_at <= clock_timestamp() AND u.kind = ANY (p_kinds)
    ORDER BY u.next_try_at, u.raised_at LIMIT p_max FOR UPDATE SKIP LOCKED
  ) AS due
  WHERE a.alert_id = due.alert_id
  RETURNING a.alert_id, a.tenant_id, a.kind, a.threshold, a.details, a.tries
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.take_due_alerts(integer, interval, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.take_due_alerts(integer, interval, text[]) TO spendlock_app;

-- As a process of the version before asks, and one that does not know yet that the schema is of this one.
CREATE OR REPLACE FUNCTION copilot_internal.take_due_alerts(p_max integer, p_lease interval)
  RETURNS TABLE (alert_id uuid, tenant_id text, kind text, threshold numeric, details jsonb, tries integer)
  LANGUAGE sql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT * FROM take_due_alerts(p_max, p_lease, ARRAY['quota_warning', 'quota_exceeded', 'overrun'])
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.take_due_alerts(integer, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.take_due_alerts(integer, interval) TO spendlock_app;
