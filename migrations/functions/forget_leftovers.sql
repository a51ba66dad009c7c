-- Forgets what nobody can ask for any more: answers kept for repeated requests, and tenants that were deleted in a period that
-- is over. Deleted tenants that somebody holds are left for the next time. Answers how many answers it forgot.
CREATE OR REPLACE FUNCTION copilot_internal.forget_leftovers(p_requests_before timestamptz, p_max integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_count integer;
BEGIN
  DELETE FROM idempotent_requests WHERE (api_key_id, idempotency_key) IN (
    SELECT api_key_id, idempotency_key FROM idempotent_requests WHERE created_at < p_requests_before LIMIT p_max);
  GET DIAGNOSTICS v_count = ROW_COUNT;
  DELETE FROM tenants WHERE tenant_id = ANY (ARRAY(
    SELECT tenant_id FROM tenants t WHERE deleted_at IS NOT NULL AND NOT EXISTS (
      SELECT FROM cost_quotas q WHERE q.tenant_id = t.tenant_id AND q.current_spend_usd > 0 AND q.period_end > clock_timestamp())
    ORDER BY tenant_id FOR UPDATE SKIP LOCKED));
  -- Limits of runs of which nothing is held, that nobody asked for in three months, to which nothing belongs that is kept, and that belong
  -- to no run that goes on.
  DELETE FROM run_limits WHERE (tenant_id, run_id) IN (
    SELECT l.tenant_id, l.run_id FROM run_limits l
    WHERE l.used_on < current_date - 90 AND l.reserved_usd = 0
      AND NOT EXISTS (SELECT FROM run_limits d WHERE d.tenant_id = l.tenant_id AND d.ancestor_ids @> ARRAY[l.run_id])
      AND NOT EXISTS (SELECT FROM runs r WHERE r.run_id = ANY (l.run_id || l.ancestor_ids) AND r.ended_at IS NULL)
    ORDER BY l.used_on LIMIT p_max FOR UPDATE SKIP LOCKED);
  RETURN v_count;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.forget_leftovers(timestamptz, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.forget_leftovers(timestamptz, integer) TO spendlock_app;
