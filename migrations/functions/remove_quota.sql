-- Removes a quota of the tenant that the transaction names, or of a user of it: what it was, as the audit keeps it; null where there is no
-- such quota, or a user's that is only the tenant's default. The ledger and open reservations stay as they are: what is settled later
-- counts in the quotas that are there then, and a quota that is made again begins with both. A user gets the tenant's defaults back; a value of a label that
-- has a default keeps its row, which is the default's from then on.
CREATE OR REPLACE FUNCTION copilot_internal.remove_quota(p_tenant_id text, p_scope text, p_scope_id text, p_resource_type text, p_period text)
  RETURNS jsonb
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_removed jsonb;
BEGIN
  IF p_scope = 'label' THEN
    UPDATE cost_quotas q SET limit_usd = d.limit_usd, warning_threshold = d.warning_threshold, more_warning_thresholds = '{}', topup_usd = 0,
      topup_kept_usd = 0, expiring_topups = NULL, topup_expires_at = NULL, from_default = true, updated_at = clock_timestamp()
    FROM label_quota_defaults d, cost_quotas old
    WHERE q.tenant_id = p_tenant_id AND p_tenant_id = current_setting('spendlock.tenant_id', true)
      AND q.scope = p_scope AND q.scope_id = p_scope_id AND q.resource_type = p_resource_type AND q.period = p_period AND NOT q.from_default
      AND old.quota_id = q.quota_id
      AND d.tenant_id = q.tenant_id AND d.key = split_part(q.scope_id, ':', 1) AND d.resource_type = q.resource_type AND d.period = q.period
    RETURNING jsonb_build_object('limitUsd', trim_scale(old.limit_usd)::text, 'topupUsd', trim_scale(old.topup_usd)::text,
      'spentUsd', trim_scale(old.current_spend_usd)::text, 'reservedUsd', trim_scale(old.reserved_usd)::text) INTO v_removed;
    IF v_removed IS NOT NULL THEN
      RETURN v_removed;
    END IF;
  END IF;
  DELETE FROM cost_quotas q
  WHERE q.tenant_id = p_tenant_id AND p_tenant_id = current_setting('spendlock.tenant_id', true)
    AND q.scope = p_scope AND q.scope IN ('tenant', 'user', 'label', 'shadow_tenant', 'shadow_user', 'shadow_label') AND q.scope_id = p_scope_id
    AND q.resource_type = p_resource_type AND q.period = p_period AND NOT q.from_default
  RETURNING jsonb_build_object('limitUsd', trim_scale(q.limit_usd)::text, 'topupUsd', trim_scale(q.topup_usd)::text,
    'spentUsd', trim_scale(q.current_spend_usd)::text, 'reservedUsd', trim_scale(q.reserved_usd)::text) INTO v_removed;
  IF v_removed IS NOT NULL AND p_scope = 'user' THEN
    PERFORM add_user_quotas(p_tenant_id, ARRAY[p_scope_id]);
  END IF;
  RETURN v_removed;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.remove_quota(text, text, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.remove_quota(text, text, text, text, text) TO spendlock_app;
