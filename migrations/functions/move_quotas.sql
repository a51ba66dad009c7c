-- Moves what quotas have reserved and spent, under the tenant's lock, and takes what came back of top-ups that have expired. Answers how many
-- there were to move. One statement for all, since each prepares the table's checks anew.
--   p_moves: [{quota_id, reserved_usd, spent_usd, taken_back_usd}], each quota once
CREATE OR REPLACE FUNCTION copilot_internal.move_quotas(p_moves jsonb) RETURNS integer
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_moved integer;
BEGIN
  UPDATE cost_quotas q
  SET reserved_usd = q.reserved_usd + m.reserved_usd, current_spend_usd = q.current_spend_usd + m.spent_usd,
      topup_usd = q.topup_usd - coalesce(m.taken_back_usd, 0), topup_kept_usd = q.topup_kept_usd - coalesce(m.taken_back_usd, 0),
      updated_at = clock_timestamp()
  FROM jsonb_to_recordset(p_moves) AS m (quota_id uuid, reserved_usd numeric, spent_usd numeric, taken_back_usd numeric)
  WHERE q.quota_id = m.quota_id AND (m.reserved_usd <> 0 OR m.spent_usd <> 0 OR m.taken_back_usd <> 0);
  GET DIAGNOSTICS v_moved = ROW_COUNT;
  RETURN v_moved;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.move_quotas(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.move_quotas(jsonb) TO spendlock_app;
