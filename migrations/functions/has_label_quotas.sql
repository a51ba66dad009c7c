-- Whether anything of a tenant is limited by label. Where there is a default there is a limit of `other` by it.
CREATE OR REPLACE FUNCTION copilot_internal.has_label_quotas(p_tenant_id text) RETURNS boolean
  LANGUAGE sql STABLE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT EXISTS (SELECT FROM cost_quotas WHERE tenant_id = p_tenant_id AND scope = 'label')
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.has_label_quotas(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.has_label_quotas(text) TO spendlock_app;
