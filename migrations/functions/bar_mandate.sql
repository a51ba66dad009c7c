-- Recalls a tenant's mandate and bars another (a reason is given), or allows one again (none is). Once it has returned nothing is
-- decided under a mandate: it waits for whoever decides, and who decides later looks under the same lock. False when there is no such tenant.
CREATE OR REPLACE FUNCTION copilot_internal.bar_mandate(p_tenant_id text, p_reason text) RETURNS boolean
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  IF NOT lock_tenant(p_tenant_id) THEN
    RETURN false;
  END IF;
  INSERT INTO mandates (tenant_id, barred_at, barred_reason)
  VALUES (p_tenant_id, CASE WHEN p_reason IS NOT NULL THEN clock_timestamp() END, p_reason)
  ON CONFLICT (tenant_id) DO UPDATE SET open_until = CASE WHEN p_reason IS NULL THEN mandates.open_until END,
    barred_at = excluded.barred_at, barred_reason = excluded.barred_reason;
  RETURN true;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.bar_mandate(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.bar_mandate(text, text) TO spendlock_app;
