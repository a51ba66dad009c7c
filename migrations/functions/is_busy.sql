-- Whether a run of a tenant is open, or money held.
CREATE OR REPLACE FUNCTION copilot_internal.is_busy(p_tenant_id text) RETURNS boolean
  LANGUAGE sql STABLE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT EXISTS (SELECT FROM runs WHERE tenant_id = p_tenant_id AND status = 'running')
    OR EXISTS (SELECT FROM reservations
               WHERE tenant_id = p_tenant_id AND (status = 'granted' OR (outcome IS NOT NULL AND NOT outcome_folded)))
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.is_busy(text) FROM PUBLIC;
