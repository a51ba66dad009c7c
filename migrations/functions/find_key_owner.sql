-- Who a key speaks for, what it may do, what is spent with it is for, and until when; no row means nobody, also where its
-- tenant was deleted. It is the one look-up that no tenant can be named for beforehand.
CREATE OR REPLACE FUNCTION copilot_internal.find_key_owner(p_key_hash bytea)
  RETURNS TABLE (api_key_id uuid, tenant_id text, role text, revoked_at timestamptz, labels jsonb)
  LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT k.api_key_id, k.tenant_id, k.role, k.revoked_at, k.labels FROM api_keys k
  WHERE k.key_hash = p_key_hash AND (k.revoked_at IS NULL OR k.revoked_at > clock_timestamp())
    AND NOT EXISTS (SELECT FROM tenants t WHERE t.tenant_id = k.tenant_id AND t.deleted_at IS NOT NULL)
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.find_key_owner(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.find_key_owner(bytea) TO spendlock_app;
