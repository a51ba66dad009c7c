-- Holds a granted reservation for longer, counted from now. Never shortens it. Null when it is not granted, or its outcome is told.
CREATE OR REPLACE FUNCTION copilot_internal.extend_reservation(p_tenant_id text, p_operation_id uuid, p_ttl_seconds numeric)
  RETURNS timestamptz
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  UPDATE reservations
  SET expires_at = greatest(expires_at, clock_timestamp() + make_interval(secs => p_ttl_seconds::double precision))
  WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id AND status = 'granted' AND outcome IS NULL
    AND expires_at > clock_timestamp()
  RETURNING expires_at
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.extend_reservation(text, uuid, numeric) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.extend_reservation(text, uuid, numeric) TO spendlock_app;
