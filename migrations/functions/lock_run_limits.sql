-- The limits of runs that a batch concerns: adds those that its commands bring, locks them and what they belong to by id, and answers
-- them. Under the tenant's lock, after its quotas and before its reservations. What is not added is not answered, and `core` says so.
--   p_asked: [{id, limitUsd?, parentId?}]; p_run_ids: those of known reservations
CREATE OR REPLACE FUNCTION copilot_internal.lock_run_limits(p_tenant_id text, p_asked jsonb, p_run_ids uuid[]) RETURNS json
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_asked uuid[] := ARRAY(SELECT (a ->> 'id')::uuid FROM jsonb_array_elements(p_asked) AS a);
  v_ids uuid[];
  v_limits json;
BEGIN
  PERFORM add_run_limits(p_tenant_id, p_asked);
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
