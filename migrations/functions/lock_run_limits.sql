-- The limits of runs that a batch concerns: adds those that its commands bring, locks them and what they belong to by id, and answers
-- them. Under the tenant's lock, after its quotas and before its reservations.
--   p_asked: [{id, limitUsd?, parentId?}], one for each id; p_run_ids: those of known reservations
-- One that is there stays as it is, whatever is asked. One whose parent is not there, has ended or is seven deep is not added, and `core`
-- says so. A parent may come in the same batch.
CREATE OR REPLACE FUNCTION copilot_internal.lock_run_limits(p_tenant_id text, p_asked jsonb, p_run_ids uuid[]) RETURNS json
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_asked uuid[] := ARRAY(SELECT (a ->> 'id')::uuid FROM jsonb_array_elements(p_asked) AS a);
  v_ids uuid[];
  v_limits json;
BEGIN
  -- Each round adds what belongs to what the one before added.
  WHILE cardinality(v_asked) > 0 LOOP
    INSERT INTO run_limits (tenant_id, run_id, ancestor_ids, limit_usd)
    SELECT p_tenant_id, a.id, CASE WHEN a."parentId" IS NULL THEN '{}' ELSE p.run_id || p.ancestor_ids END, a."limitUsd"
    FROM jsonb_to_recordset(p_asked) AS a (id uuid, "limitUsd" numeric, "parentId" uuid)
    LEFT JOIN run_limits p ON p.tenant_id = p_tenant_id AND p.run_id = a."parentId"
    WHERE num_nonnulls(a."limitUsd", a."parentId") > 0
      AND NOT EXISTS (SELECT FROM run_limits l WHERE l.tenant_id = p_tenant_id AND l.run_id = a.id)
      AND (a."parentId" IS NULL OR (cardinality(p.ancestor_ids) < 7 AND NOT EXISTS (
        SELECT FROM runs r WHERE r.run_id = a."parentId" AND r.ended_at IS NOT NULL)))
    ORDER BY a.id
    ON CONFLICT DO NOTHING;
    EXIT WHEN NOT FOUND;
  END LOOP;
  v_ids := ARRAY(
    SELECT unnest(p_run_ids)
    UNION SELECT unnest(l.run_id || l.ancestor_ids) FROM run_limits l WHERE l.tenant_id = p_tenant_id AND l.run_id = ANY (v_asked));
  SELECT coalesce(json_agg(json_build_object('runId', l.run_id, 'ancestorIds', l.ancestor_ids, 'limitUsd', l.limit_usd::text,
      'spentUsd', l.spent_usd::text, 'reservedUsd', l.reserved_usd::text)), '[]')
  INTO v_limits
  FROM (SELECT * FROM run_limits WHERE tenant_id = p_tenant_id AND run_id = ANY (v_ids) ORDER BY run_id FOR NO KEY UPDATE) AS l;
  RETURN v_limits;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.lock_run_limits(text, jsonb, uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.lock_run_limits(text, jsonb, uuid[]) TO spendlock_app;
