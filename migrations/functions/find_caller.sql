-- Who a key speaks for, what it may do, and until when; no row means nobody. Processes of the version before ask it, and know no labels.
-- Those of this version ask find_key_owner.
CREATE OR REPLACE FUNCTION copilot_internal.find_caller(p_key_hash bytea)
  RETURNS TABLE (api_key_id uuid, tenant_id text, role text, revoked_at timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT o.api_key_id, o.tenant_id, o.role, o.revoked_at FROM find_key_owner(p_key_hash) AS o
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.find_caller(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.find_caller(bytea) TO spendlock_app;
