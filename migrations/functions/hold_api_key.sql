-- Whether a key is good, and stays so until the caller's transaction ends: a revocation waits for it.
CREATE OR REPLACE FUNCTION copilot_internal.hold_api_key(p_api_key_id uuid) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  PERFORM FROM api_keys
  WHERE api_key_id = p_api_key_id AND (revoked_at IS NULL OR revoked_at > clock_timestamp()) FOR SHARE;
  RETURN FOUND;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.hold_api_key(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.hold_api_key(uuid) TO spendlock_app;
