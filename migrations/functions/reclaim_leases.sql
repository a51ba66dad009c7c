-- Takes idle parts of leases back, the largest first and whole, until `p_missing_usd` is freed. Tenants that a decision is taken
-- for are waited for only when the others were not enough. The platform's rows are locked.
CREATE OR REPLACE FUNCTION copilot_internal.reclaim_leases(p_platform_quota_id uuid, p_missing_usd numeric, p_except_tenant_id text)
  RETURNS numeric
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_freed numeric := 0;
  v_idle record;
  v_lease cost_quotas;
  v_waits boolean;
BEGIN
  FOREACH v_waits IN ARRAY ARRAY[false, true] LOOP
    FOR v_idle IN
      SELECT quota_id, tenant_id FROM cost_quotas
      WHERE lease_of = p_platform_quota_id AND tenant_id IS DISTINCT FROM p_except_tenant_id
        AND limit_usd > current_spend_usd + reserved_usd
      ORDER BY limit_usd - current_spend_usd - reserved_usd DESC
    LOOP
      EXIT WHEN v_freed >= p_missing_usd;
      IF v_waits THEN
        PERFORM 1 FROM tenants WHERE tenant_id = v_idle.tenant_id FOR NO KEY UPDATE;
      ELSE
        PERFORM 1 FROM tenants WHERE tenant_id = v_idle.tenant_id FOR NO KEY UPDATE SKIP LOCKED;
      END IF;
      CONTINUE WHEN NOT FOUND;
      SELECT * INTO v_lease FROM cost_quotas WHERE quota_id = v_idle.quota_id FOR NO KEY UPDATE;
      CONTINUE WHEN NOT FOUND OR v_lease.limit_usd <= v_lease.current_spend_usd + v_lease.reserved_usd;
      UPDATE cost_quotas SET limit_usd = current_spend_usd + reserved_usd, updated_at = clock_timestamp()
      WHERE quota_id = v_idle.quota_id;
      v_freed := v_freed + v_lease.limit_usd - v_lease.current_spend_usd - v_lease.reserved_usd;
    END LOOP;
    EXIT WHEN v_freed >= p_missing_usd;
  END LOOP;
  RETURN v_freed;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.reclaim_leases(uuid, numeric, text) FROM PUBLIC;
