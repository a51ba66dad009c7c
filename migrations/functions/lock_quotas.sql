-- Takes the locks of a decision, or of an operator's change, in their fixed order: the tenant, then its quotas (its leases
-- among them) and those of the named users. Nothing of the platform is locked. False when there is no such tenant. The order of
-- all locks is in docs/architecture.md.
CREATE OR REPLACE FUNCTION copilot_internal.lock_quotas(p_tenant_id text, p_user_ids text[]) RETURNS boolean
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  IF NOT lock_tenant(p_tenant_id) THEN
    RETURN false;
  END IF;
  PERFORM add_leases(ARRAY[p_tenant_id])
  WHERE EXISTS (SELECT FROM cost_quotas p WHERE p.tenant_id IS NULL
    AND NOT EXISTS (SELECT FROM cost_quotas l WHERE l.tenant_id = p_tenant_id AND l.lease_of = p.quota_id));
  IF cardinality(p_user_ids) > 0 THEN
    PERFORM add_user_quotas(p_tenant_id, p_user_ids);
  END IF;
  PERFORM 1 FROM unnest(quotas_of_payers(p_tenant_id, p_user_ids)) AS covering (quota_id)
  CROSS JOIN LATERAL (SELECT FROM cost_quotas q WHERE q.quota_id = covering.quota_id FOR NO KEY UPDATE) AS locked;
  RETURN true;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.lock_quotas(text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.lock_quotas(text, text[]) TO spendlock_app;
