-- The open sandboxes of this installation as the ledger knows them: what the sweeper compares a provider's list with.
CREATE OR REPLACE FUNCTION copilot_internal.sandbox_owners(p_operation_ids uuid[], p_run_ids uuid[])
  RETURNS TABLE (run_id uuid, tenant_id text, run_status text, operation_id uuid, kind text, price_version text,
    claimed_at timestamptz, is_open boolean)
  LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT r.run_id, r.tenant_id, r.status, o.operation_id, o.kind, o.price_version, o.claimed_at,
         o.status = 'granted' AND o.claimed_at IS NOT NULL AND o.outcome IS NULL
  FROM runs r
  LEFT JOIN reservations o ON o.run_id = r.run_id AND o.tenant_id = r.tenant_id AND o.kind LIKE 'sandbox.%' AND o.claimed_at IS NOT NULL
    AND (o.operation_id = ANY (p_operation_ids) OR (o.status = 'granted' AND o.outcome IS NULL))
  WHERE r.run_id = ANY (p_run_ids)
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.sandbox_owners(uuid[], uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.sandbox_owners(uuid[], uuid[]) TO spendlock_app;
