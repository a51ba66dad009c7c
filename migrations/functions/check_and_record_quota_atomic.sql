-- Requirement Q9: checks and records a batch of changes to one tenant's balances, all or none. What it grants is drawn from the
-- platform first (the platform's lock comes before the tenant's), so it has to be the first that its transaction locks.
--   p_changes: [{sequence, userId?, resource, reservedDeltaUsd, spentDeltaUsd, postedAt, grant, enforced}]
-- Raises SL001 (quota_guard) and changes nothing when it refuses.
CREATE OR REPLACE FUNCTION copilot_internal.check_and_record_quota_atomic(p_tenant_id text, p_changes jsonb) RETURNS integer
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_user_ids text[] := ARRAY(
    SELECT DISTINCT change ->> 'userId' FROM jsonb_array_elements(p_changes) AS change WHERE change ? 'userId');
BEGIN
  IF EXISTS (SELECT FROM cost_quotas WHERE tenant_id IS NULL) THEN
    PERFORM draw_lease(p_tenant_id, (
      SELECT coalesce(jsonb_agg(jsonb_build_object('quotaId', l.quota_id, 'neededUsd', n.needed_usd)), '[]')
      FROM cost_quotas l
      CROSS JOIN LATERAL (
        SELECT sum(c."reservedDeltaUsd" + c."spentDeltaUsd") AS needed_usd
        FROM jsonb_to_recordset(p_changes) AS c (resource text, "reservedDeltaUsd" numeric, "spentDeltaUsd" numeric, "grant" boolean)
        WHERE c."grant" AND l.resource_type IN ('all', c.resource)) AS n
      WHERE l.tenant_id = p_tenant_id AND l.lease_of IS NOT NULL AND n.needed_usd > 0));
  END IF;
  PERFORM lock_quotas(p_tenant_id, v_user_ids);
  PERFORM reset_ended_periods(p_tenant_id, clock_timestamp(), v_user_ids);
  RETURN apply_quota_changes(p_tenant_id, p_changes);
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.check_and_record_quota_atomic(text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.check_and_record_quota_atomic(text, jsonb) TO spendlock_app;
