-- How many tenants a process of these rules decides nothing for, by the reasons (none where it may decide), and the first of them by
-- name, with who recalled their mandates; and how many authorities are late with what was left to them. It crosses tenants, so it runs
-- as the owner.
CREATE OR REPLACE FUNCTION copilot_internal.mandate_states(p_rules text, p_named_max integer)
  RETURNS TABLE (why text[], tenants integer, named jsonb[], late integer)
  LANGUAGE sql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT s.why, count(*)::integer, (array_agg(jsonb_build_object('tenantId', t.tenant_id, 'recalledAt', s.barred_at,
      'recalledBy', s.barred_by, 'recalledReason', s.barred_reason) ORDER BY t.tenant_id))[1:p_named_max],
    (count(*) FILTER (WHERE s.needed_at < clock_timestamp() - interval '2 minutes'))::integer
  FROM tenants t, LATERAL mandate_state(t.tenant_id, p_rules) AS s
  WHERE t.deleted_at IS NULL
  GROUP BY s.why
  ORDER BY s.why
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.mandate_states(text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.mandate_states(text, integer) TO spendlock_app;
