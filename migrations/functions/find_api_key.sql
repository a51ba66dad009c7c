-- Who a key speaks for, and until when; no row means nobody. Processes of the version before ask it, and know no roles: a key that has
-- one is none to them, since they would let it do everything. Those of this version ask find_caller.
CREATE OR REPLACE FUNCTION copilot_internal.find_api_key(p_key_hash bytea)
  RETURNS TABLE (api_key_id uuid, tenant_id text, revoked_at timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT k.api_key_id, k.tenant_id, k.revoked_at FROM api_keys k
  WHERE k.key_hash = p_key_hash AND (k.revoked_at IS NULL OR k.revoked_at > clock_timestamp()) AND k.role IS NULL
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.find_api_key(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.find_api_key(bytea) TO spendlock_app;
