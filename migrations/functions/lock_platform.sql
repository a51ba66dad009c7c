-- The platform's locks: its quotas, by id. They come before any tenant's.
CREATE OR REPLACE FUNCTION copilot_internal.lock_platform() RETURNS void
  LANGUAGE sql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT FROM cost_quotas WHERE tenant_id IS NULL ORDER BY quota_id FOR NO KEY UPDATE
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.lock_platform() FROM PUBLIC;
