-- Notes which values the labels of new ledger lines have, at most a thousand a key of a tenant, and answers those that are beyond:
-- {"customer": ["c-1001"]}, null where none is. Under the tenant's lock, so that no two writers pass the bound together.
CREATE OR REPLACE FUNCTION copilot_internal.note_label_values(p_tenant_id text, p_labels jsonb[]) RETURNS jsonb
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  WITH fresh AS MATERIALIZED (
    SELECT key, value, octet_length(value) > 64 AS is_strange
    FROM (SELECT DISTINCT l.key, l.value FROM unnest(p_labels) AS labels CROSS JOIN LATERAL jsonb_each_text(labels) AS l) AS named
    -- One by one, so that each is found by its key whatever the planner believes of the table's size.
    WHERE value <> 'other'
      AND (SELECT true FROM label_values v WHERE v.tenant_id = p_tenant_id AND v.key = named.key AND v.value = named.value LIMIT 1) IS NULL
  ), placed AS MATERIALIZED (
    SELECT f.key, f.value, f.is_strange OR k.noted + row_number() OVER (PARTITION BY f.key, f.is_strange ORDER BY f.value) > label_values_max() AS is_beyond
    FROM fresh f
    JOIN (SELECT key, (SELECT count(*) FROM label_values v WHERE v.tenant_id = p_tenant_id AND v.key = f.key) AS noted
          FROM fresh f GROUP BY key) AS k USING (key)
  ), noted AS (
    INSERT INTO label_values (tenant_id, key, value)
    SELECT p_tenant_id, key, value FROM placed WHERE NOT is_beyond ORDER BY key, value
    ON CONFLICT DO NOTHING
  )
  SELECT jsonb_object_agg(key, beyond) FROM (SELECT key, jsonb_agg(value) AS beyond FROM placed WHERE is_beyond GROUP BY key) AS found
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.note_label_values(text, jsonb[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.note_label_values(text, jsonb[]) TO spendlock_app;
