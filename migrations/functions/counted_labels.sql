-- Labels as limits count them: `other` in place of a value that is not told apart. Null for none.
CREATE OR REPLACE FUNCTION copilot_internal.counted_labels(p_tenant_id text, p_labels jsonb) RETURNS jsonb
  LANGUAGE sql STABLE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT jsonb_object_agg(s.key, substr(s.scope_id, length(s.key) + 2)) FROM label_scopes(p_tenant_id, ARRAY[p_labels]) AS s
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.counted_labels(text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.counted_labels(text, jsonb) TO spendlock_app;
