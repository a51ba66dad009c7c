-- Whether the limits and defaults of a tenant (or, without one, the platform's limits) name more resources than they may, `all` not counted.
-- Under the lock of whoever changes them.
CREATE OR REPLACE FUNCTION copilot_internal.are_too_many_resources(p_tenant_id text, p_max integer) RETURNS boolean
  LANGUAGE sql STABLE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT count(*) > p_max FROM (
    SELECT resource_type FROM cost_quotas WHERE tenant_id IS NOT DISTINCT FROM p_tenant_id AND lease_of IS NULL
    UNION SELECT resource_type FROM user_quota_defaults WHERE tenant_id = p_tenant_id
    UNION SELECT resource_type FROM label_quota_defaults WHERE tenant_id = p_tenant_id) AS named
  WHERE resource_type <> 'all'
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.are_too_many_resources(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.are_too_many_resources(text, integer) TO spendlock_app;
