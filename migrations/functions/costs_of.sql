-- The ledger's lines of an operation. By two conditions, which are all there are: each has an index of its own (cost_records_once,
-- cost_records_adjustments), and asked by operation alone every line of the tenant would be read.
CREATE OR REPLACE FUNCTION copilot_internal.costs_of(p_tenant_id text, p_operation_id uuid) RETURNS SETOF copilot_internal.cost_records
  LANGUAGE sql STABLE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT * FROM cost_records
  WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id AND (entry <> 'adjustment' OR entry = 'adjustment')
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.costs_of(text, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.costs_of(text, uuid) TO spendlock_app;
