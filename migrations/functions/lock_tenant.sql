-- Takes a tenant's lock: the first of every decision, every change of what it is decided from, and a recall of its mandate. False
-- when there is no such tenant.
CREATE OR REPLACE FUNCTION copilot_internal.lock_tenant(p_tenant_id text) RETURNS boolean
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  PERFORM 1 FROM tenants WHERE tenant_id = p_tenant_id FOR NO KEY UPDATE;
  RETURN FOUND;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.lock_tenant(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.lock_tenant(text) TO spendlock_app;
