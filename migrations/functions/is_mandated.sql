-- Whether a process with these rules may take a tenant's decisions itself, now. What it answers holds only under the tenant's lock.
CREATE OR REPLACE FUNCTION copilot_internal.is_mandated(p_tenant_id text, p_rules text) RETURNS boolean
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT EXISTS (SELECT FROM mandates
    WHERE tenant_id = p_tenant_id AND open_until > clock_timestamp() AND barred_at IS NULL AND rules = p_rules)
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.is_mandated(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.is_mandated(text, text) TO spendlock_app;
