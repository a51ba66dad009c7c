-- Takes from a tenant's users what they had by a default that is none any more. What was set for a user himself stays, and so do the
-- ledger and open reservations.
CREATE OR REPLACE FUNCTION copilot_internal.remove_former_defaults(p_tenant_id text) RETURNS void
  LANGUAGE sql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  DELETE FROM cost_quotas q
  WHERE q.tenant_id = p_tenant_id AND p_tenant_id = current_setting('spendlock.tenant_id', true)
    AND q.scope = 'user' AND q.from_default AND NOT EXISTS (
      SELECT FROM user_quota_defaults d
      WHERE d.tenant_id = q.tenant_id AND d.resource_type = q.resource_type AND d.period = q.period)
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.remove_former_defaults(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.remove_former_defaults(text) TO spendlock_app;
