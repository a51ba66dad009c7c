-- Moves what quotas have reserved and spent, under the tenant's lock, and takes what came back of top-ups that have expired. Answers how many
-- there were to move. One row at a time, by its key: in a join the planner takes a tenant to have few quotas, and reads them all.
--   p_moves: [{quota_id, reserved_usd, spent_usd, taken_back_usd}], each quota once
CREATE OR REPLACE FUNCTION copilot_internal.move_quotas(p_moves jsonb) RETURNS integer
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_move record;
  v_moved integer := 0;
BEGIN
  FOR v_move IN
    SELECT * FROM jsonb_to_recordset(p_moves) AS m (quota_id uuid, reserved_usd numeric, spent_usd numeric, taken_back_usd numeric)
    WHERE m.reserved_usd <> 0 OR m.spent_usd <> 0 OR m.taken_back_usd <> 0
  LOOP
    UPDATE cost_quotas q
    SET reserved_usd = q.reserved_usd + v_move.reserved_usd, current_spend_usd = q.current_spend_usd + v_move.spent_usd,
        topup_usd = q.topup_usd - coalesce(v_move.taken_back_usd, 0), topup_kept_usd = q.topup_kept_usd - coalesce(v_move.taken_back_usd, 0),
        updated_at = clock_timestamp()
    WHERE q.quota_id = v_move.quota_id;
    v_moved := v_moved + 1;
  END LOOP;
  RETURN v_moved;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.move_quotas(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.move_quotas(jsonb) TO spendlock_app;
