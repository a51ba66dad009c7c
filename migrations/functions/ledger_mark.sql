-- Up to which line the ledger of a tenant has all of its lines: no writer of it is under way, since each holds its lock. The lock is let go
-- with the transaction; what was recorded later is what comes after the mark.
CREATE OR REPLACE FUNCTION copilot_internal.ledger_mark(p_tenant_id text) RETURNS bigint
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  PERFORM lock_tenant(p_tenant_id);
  RETURN (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM cost_records_cost_record_id_seq);
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.ledger_mark(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.ledger_mark(text) TO spendlock_app;
