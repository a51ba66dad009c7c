-- Makes what quotas a tenant and the named users are to have, and locks theirs, in the order of their ids: answers these. Under the
-- tenant's lock. Nothing of the platform is locked.
CREATE OR REPLACE FUNCTION copilot_internal.lock_payers(p_tenant_id text, p_user_ids text[]) RETURNS uuid[]
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  PERFORM add_leases(ARRAY[p_tenant_id])
  WHERE EXISTS (SELECT FROM cost_quotas p WHERE p.tenant_id IS NULL
    AND (SELECT true FROM cost_quotas l WHERE l.tenant_id = p_tenant_id AND l.scope = 'platform' AND l.scope_id = p.scope_id
         AND l.lease_of = p.quota_id LIMIT 1) IS NULL);
  IF cardinality(p_user_ids) > 0 THEN
    PERFORM add_user_quotas(p_tenant_id, p_user_ids);
  END IF;
  RETURN ARRAY(
    SELECT locked.quota_id FROM quotas_of(p_tenant_id, p_user_ids, '{}') AS covering
    CROSS JOIN LATERAL (SELECT q.quota_id FROM cost_quotas q WHERE q.quota_id = covering.quota_id FOR NO KEY UPDATE) AS locked);
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.lock_payers(text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.lock_payers(text, text[]) TO spendlock_app;
