-- Which of these keys end, and when; those that are gone have ended.
CREATE OR REPLACE FUNCTION copilot_internal.ends_of_api_keys(p_api_key_ids uuid[])
  RETURNS TABLE (api_key_id uuid, revoked_at timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT asked.api_key_id, coalesce(k.revoked_at, 'epoch')
  FROM unnest(p_api_key_ids) AS asked (api_key_id) LEFT JOIN api_keys k USING (api_key_id)
  WHERE k.api_key_id IS NULL OR k.revoked_at IS NOT NULL
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.ends_of_api_keys(uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.ends_of_api_keys(uuid[]) TO spendlock_app;
