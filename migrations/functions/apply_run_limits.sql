-- Counts what became of reservations for the limits of their runs, and refuses a grant above one (SL001), for whoever decides: it goes by
-- the rows that were written and their own list of limits, not by what the decision says of them. Under the tenant's lock.
--   p_moves: [{operation_id, limit_ids, reserved_usd, spent_usd, is_grant}]
--   p_changes: those of the batch, whose order it takes ({operationId, sequence}). One of the version before names no operations:
--   then all that is granted comes after all that ends.
CREATE OR REPLACE FUNCTION copilot_internal.apply_run_limits(p_tenant_id text, p_moves jsonb, p_changes jsonb) RETURNS void
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_crossed jsonb;
BEGIN
  WITH steps AS (
    SELECT "operationId" AS operation_id, min(sequence) AS sequence
    FROM jsonb_to_recordset(p_changes) AS c ("operationId" uuid, sequence integer) WHERE "operationId" IS NOT NULL GROUP BY 1
  ), effects AS MATERIALIZED (
    SELECT l.run_id, l.limit_usd, l.spent_usd + l.reserved_usd AS held_usd, m.reserved_usd, m.spent_usd, m.is_grant,
           coalesce(s.sequence, CASE WHEN m.is_grant THEN 2147483647 ELSE -1 END) AS sequence
    FROM jsonb_to_recordset(p_moves) AS m (operation_id uuid, limit_ids uuid[], reserved_usd numeric, spent_usd numeric, is_grant boolean)
    JOIN run_limits l ON l.tenant_id = p_tenant_id AND l.run_id = ANY (m.limit_ids)
    LEFT JOIN steps s ON s.operation_id = m.operation_id
  ), crossed AS (
    SELECT * FROM (
      SELECT e.*, held_usd + sum(reserved_usd + spent_usd) OVER (PARTITION BY run_id ORDER BY sequence) AS lifted_to_usd
      FROM effects e) AS lifted
    WHERE is_grant AND lifted_to_usd > limit_usd
    ORDER BY sequence LIMIT 1
  ), updated AS (
    UPDATE run_limits l SET reserved_usd = l.reserved_usd + t.reserved_usd, spent_usd = l.spent_usd + t.spent_usd,
      used_on = current_date
    FROM (SELECT run_id, sum(reserved_usd) AS reserved_usd, sum(spent_usd) AS spent_usd FROM effects GROUP BY run_id) AS t
    WHERE l.tenant_id = p_tenant_id AND l.run_id = t.run_id AND NOT EXISTS (SELECT FROM crossed)
  )
  SELECT to_jsonb(crossed) INTO v_crossed FROM crossed;
  IF v_crossed IS NOT NULL THEN
    RAISE EXCEPTION 'run_limit_guard: a grant would lift run % to % USD, above its limit of % USD; nothing was recorded',
      v_crossed ->> 'run_id', v_crossed ->> 'lifted_to_usd', v_crossed ->> 'limit_usd' USING ERRCODE = 'SL001';
  END IF;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.apply_run_limits(text, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.apply_run_limits(text, jsonb, jsonb) TO spendlock_app;
