-- Notes that others than the one that was granted them are told of these grants, so that the one cannot give them back. What nobody is
-- noted for, is claimed, or has ended stays as it is.
--   p_operation_ids, p_askers: who is told now of which, in pairs
CREATE OR REPLACE FUNCTION copilot_internal.tell_also(p_tenant_id text, p_operation_ids uuid[], p_askers text[]) RETURNS void
  LANGUAGE sql
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  UPDATE reservations r SET asker = '*'
  FROM (
    SELECT o.operation_id FROM unnest(p_operation_ids, p_askers) AS told (operation_id, asker)
    JOIN reservations o ON o.tenant_id = p_tenant_id AND o.operation_id = told.operation_id
    WHERE o.status = 'granted' AND o.claimed_at IS NULL AND o.asker <> told.asker
    ORDER BY o.operation_id FOR UPDATE OF o) AS others
  WHERE r.tenant_id = p_tenant_id AND r.operation_id = others.operation_id
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.tell_also(text, uuid[], text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.tell_also(text, uuid[], text[]) TO spendlock_app;
