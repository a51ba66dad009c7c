-- Gives back what is idle of a tenant's leases. Lowering needs no lock of the platform.
CREATE OR REPLACE FUNCTION copilot_internal.return_leases(p_tenant_id text) RETURNS void
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  PERFORM lock_tenant(p_tenant_id);
  UPDATE cost_quotas SET limit_usd = current_spend_usd + reserved_usd, updated_at = clock_timestamp()
  WHERE tenant_id = p_tenant_id AND lease_of IS NOT NULL AND limit_usd > current_spend_usd + reserved_usd;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.return_leases(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.return_leases(text) TO spendlock_app;
