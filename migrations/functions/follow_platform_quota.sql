-- Follows whoever makes or changes a quota of the platform, by API or by hand: a new one counts what every tenant has spent and
-- holds already, a lower one takes idle parts back at once, a higher one is there for those who found it exhausted. Who changes
-- a row by hand holds it already; who adds one waits for those that draw.
CREATE OR REPLACE FUNCTION copilot_internal.follow_platform_quota() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_over numeric;
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM lock_platform();
    PERFORM 1 FROM tenants ORDER BY tenant_id FOR NO KEY UPDATE;
    PERFORM add_leases(ARRAY(SELECT tenant_id FROM tenants));
    RETURN NULL;
  END IF;
  SELECT coalesce(sum(greatest(limit_usd, current_spend_usd + reserved_usd)), 0) - NEW.limit_usd - NEW.topup_usd
  INTO v_over FROM cost_quotas WHERE lease_of = NEW.quota_id;
  IF v_over > 0 THEN
    PERFORM reclaim_leases(NEW.quota_id, v_over, NULL);
  ELSE
    PERFORM 1 FROM tenants WHERE tenant_id IN (
      SELECT tenant_id FROM cost_quotas WHERE lease_of = NEW.quota_id AND exhausted_until IS NOT NULL)
    ORDER BY tenant_id FOR NO KEY UPDATE;
    UPDATE cost_quotas SET exhausted_until = NULL WHERE lease_of = NEW.quota_id AND exhausted_until IS NOT NULL;
  END IF;
  RETURN NULL;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.follow_platform_quota() FROM PUBLIC;

CREATE OR REPLACE TRIGGER new_platform_quota AFTER INSERT ON copilot_internal.cost_quotas
  FOR EACH ROW WHEN (NEW.tenant_id IS NULL) EXECUTE FUNCTION copilot_internal.follow_platform_quota();
CREATE OR REPLACE TRIGGER changed_platform_quota AFTER UPDATE OF limit_usd, topup_usd ON copilot_internal.cost_quotas
  FOR EACH ROW WHEN (NEW.tenant_id IS NULL) EXECUTE FUNCTION copilot_internal.follow_platform_quota();
