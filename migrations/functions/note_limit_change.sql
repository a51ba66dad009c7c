-- Notes how a limit stands once it was set, topped up, made by default or removed, whoever does it, in the order of decisions: all of that is
-- done under the tenant's lock. What spends and what ends a period is none of it.
CREATE OR REPLACE FUNCTION copilot_internal.note_limit_change() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_quota cost_quotas := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
BEGIN
  -- A tenant that is deleted takes its limits with it.
  INSERT INTO limit_changes (tenant_id, decision_no, quota_id, is_removed, scope, scope_id, resource_type, period, limit_usd, topup_usd,
    topup_kept_usd, expiring_topups, spent_usd, reserved_usd, period_start, period_end)
  SELECT t.tenant_id, nextval('decision_numbers'), v_quota.quota_id, TG_OP = 'DELETE', v_quota.scope, v_quota.scope_id, v_quota.resource_type,
    v_quota.period, v_quota.limit_usd, v_quota.topup_usd, v_quota.topup_kept_usd, v_quota.expiring_topups, v_quota.current_spend_usd,
    v_quota.reserved_usd, v_quota.period_start, v_quota.period_end
  FROM tenants t WHERE t.tenant_id = v_quota.tenant_id;
  RETURN NULL;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.note_limit_change() FROM PUBLIC;

CREATE OR REPLACE TRIGGER new_limit AFTER INSERT ON copilot_internal.cost_quotas
  FOR EACH ROW WHEN (NEW.scope IN ('tenant', 'user', 'label')) EXECUTE FUNCTION copilot_internal.note_limit_change();
CREATE OR REPLACE TRIGGER changed_limit AFTER UPDATE OF limit_usd, topup_usd ON copilot_internal.cost_quotas
  FOR EACH ROW WHEN (NEW.scope IN ('tenant', 'user', 'label') AND (NEW.limit_usd <> OLD.limit_usd OR NEW.topup_usd > OLD.topup_usd))
  EXECUTE FUNCTION copilot_internal.note_limit_change();
CREATE OR REPLACE TRIGGER removed_limit AFTER DELETE ON copilot_internal.cost_quotas
  FOR EACH ROW WHEN (OLD.scope IN ('tenant', 'user', 'label')) EXECUTE FUNCTION copilot_internal.note_limit_change();
