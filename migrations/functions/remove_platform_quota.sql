-- Removes a quota of the platform with every tenant's lease of it: what it was, as the audit keeps it; null where there is none.
-- Administration's; its caller writes the audit entry. Leases go with it, so all tenants are locked, after the platform. The ledger and
-- open reservations stay as they are, and a quota that is made again begins with both.
CREATE OR REPLACE FUNCTION copilot_internal.remove_platform_quota(p_resource_type text, p_period text) RETURNS jsonb
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_removed jsonb;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('spendlock.set_platform_quota'));
  PERFORM lock_platform();
  SELECT jsonb_build_object('limitUsd', trim_scale(p.limit_usd)::text, 'topupUsd', trim_scale(p.topup_usd)::text,
    'spentUsd', trim_scale(p.spent_usd)::text, 'reservedUsd', trim_scale(p.reserved_usd)::text)
  INTO v_removed FROM list_platform_quotas() AS p WHERE p.resource_type = p_resource_type AND p.period = p_period;
  IF v_removed IS NULL THEN
    RETURN NULL;
  END IF;
  PERFORM 1 FROM tenants ORDER BY tenant_id FOR NO KEY UPDATE;
  DELETE FROM cost_quotas WHERE tenant_id IS NULL AND resource_type = p_resource_type AND period = p_period;
  RETURN v_removed;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.remove_platform_quota(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.remove_platform_quota(text, text) TO spendlock_app;
