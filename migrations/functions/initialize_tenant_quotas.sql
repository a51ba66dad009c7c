-- Requirement Q4: a new tenant has its default quotas from its first moment on.
CREATE OR REPLACE FUNCTION copilot_internal.initialize_tenant_quotas() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  PERFORM add_default_quotas(NEW.tenant_id);
  RETURN NULL;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.initialize_tenant_quotas() FROM PUBLIC;

CREATE OR REPLACE TRIGGER initialize_tenant_quotas AFTER INSERT ON copilot_internal.tenants
  FOR EACH ROW EXECUTE FUNCTION copilot_internal.initialize_tenant_quotas();
