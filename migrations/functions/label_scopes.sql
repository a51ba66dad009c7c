-- What labels count for among limits: each of their values, once, and the scope_id of its limits. A value beyond those that are told apart
-- counts as `other`, as in the ledger (note_label_values). It pins no search path, so that it is put in place where it is read from.
CREATE OR REPLACE FUNCTION copilot_internal.label_scopes(p_tenant_id text, p_labels jsonb[])
  RETURNS TABLE (key text, value text, scope_id text)
  LANGUAGE sql STABLE
AS $$
  SELECT n.key, n.value, pg_catalog.concat(n.key, ':', CASE
    WHEN n.value = 'other' THEN n.value
    WHEN (SELECT true FROM copilot_internal.label_values v
          WHERE v.tenant_id = p_tenant_id AND v.key = n.key AND v.value = n.value LIMIT 1) THEN n.value
    WHEN pg_catalog.octet_length(n.value) > 64 THEN 'other'
    WHEN (SELECT pg_catalog.count(*) FROM copilot_internal.label_values v WHERE v.tenant_id = p_tenant_id AND v.key = n.key)
         >= copilot_internal.label_values_max() THEN 'other'
    ELSE n.value END)
  FROM (
    SELECT DISTINCT l.key, l.value
    FROM pg_catalog.unnest(p_labels) AS labels
    CROSS JOIN LATERAL pg_catalog.jsonb_each_text(CASE WHEN pg_catalog.jsonb_typeof(labels) = 'object' THEN labels ELSE '{}' END) AS l
    WHERE l.value IS NOT NULL) AS n
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.label_scopes(text, jsonb[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.label_scopes(text, jsonb[]) TO spendlock_app;
