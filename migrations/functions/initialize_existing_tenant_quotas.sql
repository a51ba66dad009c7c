-- Requirement Q5: gives the default quotas to tenants that were there before the trigger of initialize_tenant_quotas. Answers
-- how many quotas it added.
CREATE OR REPLACE FUNCTION copilot_internal.initialize_existing_tenant_quotas() RETURNS integer
  LANGUAGE sql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT coalesce(sum(add_default_quotas(tenant_id)), 0)::integer FROM tenants
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.initialize_existing_tenant_quotas() FROM PUBLIC;
