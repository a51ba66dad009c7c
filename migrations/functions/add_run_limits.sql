-- Adds the limits of runs that are brought; of several that come for one run the first that can be. One that is there stays as it is,
-- whatever is asked. One whose parent is not there, has ended or is seven deep is not added. A parent may come beside its children. What it
-- adds counts nothing yet, so that it needs no lock of the tenant.
--   p_asked: [{id, limitUsd?, parentId?}]
CREATE OR REPLACE FUNCTION copilot_internal.add_run_limits(p_tenant_id text, p_asked jsonb) RETURNS void
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  -- Each round adds what belongs to what the one before added.
  WHILE jsonb_array_length(p_asked) > 0 LOOP
    INSERT INTO run_limits (tenant_id, run_id, ancestor_ids, limit_usd)
    SELECT p_tenant_id, a.id, CASE WHEN a."parentId" IS NULL THEN '{}' ELSE p.run_id || p.ancestor_ids END, a."limitUsd"
    FROM ROWS FROM (jsonb_to_recordset(p_asked) AS (id uuid, "limitUsd" numeric, "parentId" uuid))
      WITH ORDINALITY AS a (id, "limitUsd", "parentId", place)
    LEFT JOIN run_limits p ON p.tenant_id = p_tenant_id AND p.run_id = a."parentId"
    WHERE num_nonnulls(a."limitUsd", a."parentId") > 0
      AND NOT EXISTS (SELECT FROM run_limits l WHERE l.tenant_id = p_tenant_id AND l.run_id = a.id)
      AND (a."parentId" IS NULL OR (cardinality(p.ancestor_ids) < 7 AND NOT EXISTS (
        SELECT FROM runs r WHERE r.run_id = a."parentId" AND r.ended_at IS NOT NULL)))
    ORDER BY a.id, a.place
    ON CONFLICT DO NOTHING;
    EXIT WHEN NOT FOUND;
  END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.add_run_limits(text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.add_run_limits(text, jsonb) TO spendlock_app;
