-- Who a key speaks for: no row means nobody. Processes of the version before ask it; those of this one ask find_api_key.
CREATE OR REPLACE FUNCTION copilot_internal.authenticate_api_key(p_key_hash bytea)
  RETURNS TABLE (api_key_id uuid, tenant_id text)
  LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT k.api_key_id, k.tenant_id FROM api_keys k
  WHERE k.key_hash = p_key_hash AND (k.revoked_at IS NULL OR k.revoked_at > clock_timestamp())
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.authenticate_api_key(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.authenticate_api_key(bytea) TO spendlock_app;
