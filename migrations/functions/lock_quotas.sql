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
  PERFORM lock_payers(p_tenant_id, p_user_ids);
  RETURN true;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.lock_quotas(text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.lock_quotas(text, text[]) TO spendlock_app;
