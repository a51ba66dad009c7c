-- Up Migration
-- Keys that end at a moment, so that a new one can be rolled out before the old one is refused; and runs in the order in which
-- operators ask for them. The runner's own table says to `npx spendlock doctor` what has been applied.
GRANT SELECT ON copilot_internal.schema_migrations TO spendlock_app;
SET LOCAL ROLE spendlock_owner;

CREATE OR REPLACE FUNCTION copilot_internal.authenticate_api_key(p_key_hash bytea)
  RETURNS TABLE (api_key_id uuid, tenant_id text)
  LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT k.api_key_id, k.tenant_id FROM api_keys k
  WHERE k.key_hash = p_key_hash AND (k.revoked_at IS NULL OR k.revoked_at > clock_timestamp())
$$;

CREATE INDEX runs_by_status ON copilot_internal.runs (tenant_id, status, created_at DESC);
RESET ROLE;
