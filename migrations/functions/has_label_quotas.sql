-- Whether anything of a tenant is limited by label, or watched. Where there is a default there is a limit of `other` by it. In the order of the index, so
-- that the first is found by its key whatever the planner believes of how many there are.
CREATE OR REPLACE FUNCTION copilot_internal.has_label_quotas(p_tenant_id text) RETURNS boolean
  LANGUAGE sql STABLE
  SET search_path = pg_catalog, copilot_internal, pg_temp
  SET enable_bitmapscan = off SET enable_sort = off
AS $$
  SELECT (SELECT true FROM cost_quotas WHERE tenant_id = p_tenant_id AND scope = 'label'
          ORDER BY tenant_id, scope, scope_id, resource_type, period LIMIT 1) IS NOT NULL
    OR (SELECT true FROM cost_quotas WHERE tenant_id = p_tenant_id AND scope = 'shadow_label'
        ORDER BY tenant_id, scope, scope_id, resource_type, period LIMIT 1) IS NOT NULL
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.has_label_quotas(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.has_label_quotas(text) TO spendlock_app;
