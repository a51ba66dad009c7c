-- The guard of envelopes, for whoever decides: refuses a batch (SL001) after which the rest of one is not what it was, less what its parts
-- took in the batch, and with what of those that ended went back. A part has the payer of its envelope, is of its run where it has one, and is held where that is; it
-- gives back no more than it did not need, and takes no more beyond its grant than it cost. Called under the tenant's lock, once the rows
-- are written, where the batch concerns an envelope.
--   p_rows: the rows that were written [{operation_id, parent_id, envelope_usd, was_usd, granted_usd, status, was, returned_usd, committed_usd}];
--   `was`, and what was granted, are null of a new one
--   p_moves: what its label limits are moved by for each envelope, after its own grant [{operation_id, reserved_usd}]
CREATE OR REPLACE FUNCTION copilot_internal.check_envelopes(p_tenant_id text, p_rows jsonb, p_moves jsonb) RETURNS void
  LANGUAGE plpgsql STABLE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_wrong text;
BEGIN
  WITH written AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(p_rows) AS w (operation_id uuid, parent_id uuid, envelope_usd numeric, was_usd numeric,
      granted_usd numeric, status text, was text, returned_usd numeric, committed_usd numeric)
  ), parts AS (
    SELECT w.*, CASE WHEN w.was IS NULL THEN w.granted_usd ELSE 0 END AS taken_usd, w.granted_usd - coalesce(w.committed_usd, 0) AS unused_usd
    FROM written w WHERE w.parent_id IS NOT NULL AND w.granted_usd IS NOT NULL AND w.was IS DISTINCT FROM w.status
  ), sums AS (
    SELECT parent_id AS operation_id, sum(coalesce(returned_usd, 0) - taken_usd) AS moved_usd FROM parts GROUP BY parent_id
  ), envelopes AS (
    SELECT operation_id, granted_usd - coalesce(was_usd, envelope_usd) AS moved_usd,
      CASE WHEN status = 'granted' THEN granted_usd ELSE 0 END - coalesce(was_usd, envelope_usd) AS held_usd
    FROM written WHERE envelope_usd IS NOT NULL
  ), moves AS (
    SELECT operation_id, sum(reserved_usd) AS held_usd
    FROM jsonb_to_recordset(coalesce(p_moves, '[]')) AS m (operation_id uuid, reserved_usd numeric) GROUP BY operation_id
  )
  SELECT coalesce(
    (SELECT format('the rest of the envelope %s would change by %s USD, and its parts moved %s USD', operation_id,
              coalesce(e.moved_usd, 0), coalesce(s.moved_usd, 0))
     FROM envelopes e FULL JOIN sums s USING (operation_id) WHERE coalesce(e.moved_usd, 0) <> coalesce(s.moved_usd, 0) LIMIT 1),
    (SELECT format('what is held for the envelope %s would change by %s USD, and its rest by %s USD', operation_id,
              coalesce(m.held_usd, 0), e.held_usd)
     FROM envelopes e LEFT JOIN moves m USING (operation_id) WHERE coalesce(m.held_usd, 0) <> e.held_usd LIMIT 1),
    (SELECT format('the part %s would give %s USD back of %s USD that it did not need', operation_id, returned_usd, unused_usd)
     FROM parts WHERE returned_usd NOT BETWEEN least(unused_usd, 0) AND greatest(unused_usd, 0) OR (returned_usd <> 0 AND status = 'granted') LIMIT 1),
    (SELECT format('%s would be a part of %s, which is no envelope for it', p.operation_id, p.parent_id)
     FROM parts p JOIN reservations r ON r.tenant_id = p_tenant_id AND r.operation_id = p.operation_id
     LEFT JOIN reservations e ON e.tenant_id = p_tenant_id AND e.operation_id = p.parent_id
     WHERE p.was IS NULL AND (e.envelope_usd IS NULL OR NOT r.resource = ANY (e.held_on) OR r.run_id IS DISTINCT FROM coalesce(e.run_id, r.run_id)
       OR (r.user_id, r.held_on, nullif(r.labels, '{}')) IS DISTINCT FROM (e.user_id, e.held_on, nullif(e.labels, '{}'))) LIMIT 1))
  INTO v_wrong;
  IF v_wrong IS NOT NULL THEN
    RAISE EXCEPTION 'envelope_guard: %; nothing was recorded', v_wrong USING ERRCODE = 'SL001';
  END IF;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.check_envelopes(text, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.check_envelopes(text, jsonb, jsonb) TO spendlock_app;
