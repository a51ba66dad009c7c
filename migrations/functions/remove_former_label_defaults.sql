-- Takes from the values of a tenant's labels what they had by a default that is none any more. What was set for a value itself stays.
CREATE OR REPLACE FUNCTION copilot_internal.remove_former_label_defaults(p_tenant_id text) RETURNS void
  LANGUAGE sql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  DELETE FROM cost_quotas q
  WHERE q.tenant_id = p_tenant_id AND p_tenant_id = current_setting('spendlock.tenant_id', true)
    AND q.scope = 'label' AND q.from_default AND NOT EXISTS (
      SELECT FROM label_quota_defaults d
      WHERE d.tenant_id = q.tenant_id AND d.key = split_part(q.scope_id, ':', 1) AND d.resource_type = q.resource_type AND d.period = q.period)
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.remove_former_label_defaults(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.remove_former_label_defaults(text) TO spendlock_app;
