-- Draws for a tenant's leases what they lack of what is needed from them, and a little ahead: a sixty-fourth of what is free,
-- so that draws are few while the platform has much and fair when it has little. What is idle elsewhere is taken back before a
-- lease counts as exhausted. It locks the platform, then its tenant, then others as far as it takes back what is theirs.
--   p_needs: [{quotaId (of the lease), neededUsd}]; what names one lease adds up
-- Answers whether every need was met.
CREATE OR REPLACE FUNCTION copilot_internal.draw_lease(p_tenant_id text, p_needs jsonb) RETURNS boolean
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_now timestamptz;
  v_need record;
  v_platform cost_quotas;
  v_lease cost_quotas;
  v_free numeric;
  v_short numeric;
  v_taken numeric;
  v_met boolean := true;
BEGIN
  PERFORM lock_platform();
  PERFORM lock_tenant(p_tenant_id);
  v_now := clock_timestamp();
  FOR v_need IN
    SELECT l.quota_id, sum(n."neededUsd") AS needed_usd, l.lease_of
    FROM jsonb_to_recordset(p_needs) AS n ("quotaId" uuid, "neededUsd" numeric)
    JOIN cost_quotas l ON l.quota_id = n."quotaId" AND l.tenant_id = p_tenant_id AND l.lease_of IS NOT NULL
    GROUP BY l.quota_id
    ORDER BY l.lease_of
  LOOP
    PERFORM reset_platform_period(v_need.lease_of, v_now);
    SELECT * INTO v_platform FROM cost_quotas WHERE quota_id = v_need.lease_of;
    SELECT * INTO v_lease FROM cost_quotas WHERE quota_id = v_need.quota_id FOR NO KEY UPDATE;
    SELECT v_platform.limit_usd + v_platform.topup_usd - coalesce(sum(greatest(limit_usd, current_spend_usd + reserved_usd)), 0)
    INTO v_free FROM cost_quotas WHERE lease_of = v_platform.quota_id;
    -- After an overrun a lease holds more than it was given; that much is counted already.
    v_short := v_need.needed_usd - greatest(v_lease.limit_usd - v_lease.current_spend_usd - v_lease.reserved_usd, 0);
    IF v_free < v_short THEN
      v_free := v_free + reclaim_leases(v_platform.quota_id, v_short - v_free, p_tenant_id);
    END IF;
    v_taken := greatest(least(v_short + trunc(greatest(v_free - v_short, 0) / 64, 12), v_free), 0);
    IF v_taken < v_short THEN
      v_met := false;
      PERFORM raise_platform_alerts(v_platform.quota_id, v_need.needed_usd);
    ELSE
      PERFORM raise_platform_alerts(v_platform.quota_id);
    END IF;
    UPDATE cost_quotas
    SET limit_usd = greatest(limit_usd, current_spend_usd + reserved_usd) + v_taken, updated_at = v_now,
        exhausted_until = CASE WHEN v_taken < v_short THEN clock_timestamp() + interval '1 second' END,
        platform_frees_at = CASE WHEN v_taken < v_short THEN (
          SELECT min(r.expires_at) FROM reservations r
          WHERE r.status = 'granted' AND r.outcome IS NULL AND is_released_by_expiry(r)
            -- What a part gives back is its envelope's.
            AND (r.parent_id IS NULL OR NOT EXISTS (
              SELECT FROM reservations e WHERE e.tenant_id = r.tenant_id AND e.operation_id = r.parent_id AND e.status = 'granted'))
            AND (v_platform.resource_type IN ('all', r.resource) OR v_platform.resource_type = ANY (r.held_on))) END
    WHERE quota_id = v_need.quota_id;
  END LOOP;
  RETURN v_met;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.draw_lease(text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.draw_lease(text, jsonb) TO spendlock_app;
