-- Notes that others than those who were told of these grants are told of them too, so that those cannot give them back. What nobody is
-- noted for, is claimed, or has ended stays as it is. core/budget/reservations.ts (toldAlso) has the same rule.
--   p_operation_ids, p_askers: who is told now of which, in pairs
CREATE OR REPLACE FUNCTION copilot_internal.tell_also(p_tenant_id text, p_operation_ids uuid[], p_askers text[]) RETURNS void
  LANGUAGE sql
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  UPDATE reservations r SET asker = CASE WHEN cardinality(others.askers) > 8 THEN '*' ELSE array_to_string(others.askers, ' ') END
  FROM (
    SELECT o.operation_id, cardinality(string_to_array(o.asker, ' ')) AS told_before,
      string_to_array(o.asker, ' ') ||
        ARRAY (SELECT unnest(told.askers) EXCEPT SELECT unnest(string_to_array(o.asker, ' '))) AS askers
    FROM (
      SELECT operation_id, array_agg(asker) AS askers FROM unnest(p_operation_ids, p_askers) AS t (operation_id, asker)
      GROUP BY operation_id) AS told
    JOIN reservations o ON o.tenant_id = p_tenant_id AND o.operation_id = told.operation_id
    WHERE o.status = 'granted' AND o.claimed_at IS NULL AND o.asker <> '*'
    ORDER BY o.operation_id FOR UPDATE OF o) AS others
  WHERE r.tenant_id = p_tenant_id AND r.operation_id = others.operation_id
    AND cardinality(others.askers) > others.told_before
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.tell_also(text, uuid[], text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.tell_also(text, uuid[], text[]) TO spendlock_app;
