-- What a request is billed as, by the limits of its tenant: a tool as a sandbox where the tenant itself limits those, and neither tools nor
-- everything (billedAs in core/resources.ts). For whoever writes a row without a decision, which says so by itself.
CREATE OR REPLACE FUNCTION copilot_internal.billed_as(p_tenant_id text, p_resource text) RETURNS text
  LANGUAGE sql STABLE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT CASE WHEN p_resource = 'tool' AND (
      SELECT bool_or(q.resource_type = 'e2b') AND NOT bool_or(q.resource_type IN ('tool', 'all')) FROM cost_quotas q
      WHERE q.tenant_id = p_tenant_id AND q.scope = 'tenant') THEN 'e2b'
    ELSE p_resource END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.billed_as(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.billed_as(text, text) TO spendlock_app;
