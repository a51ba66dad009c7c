-- What is billed for a resource: a tool as `e2b` where the tenant itself limits those, and neither tools nor everything, or where the tenant,
-- the user that pays and the platform together do (billedAs in core/resources.ts). For whoever writes a row without a decision, which says so
-- by itself. A user that nobody has seen has the tenant's defaults.
CREATE OR REPLACE FUNCTION copilot_internal.billed_as(p_tenant_id text, p_user_id text, p_resource text) RETURNS text
  LANGUAGE sql STABLE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT CASE WHEN p_resource = 'tool' AND (
      SELECT (bool_or(l.resource_type = 'e2b' AND l.scope = 'tenant') AND NOT bool_or(l.resource_type IN ('tool', 'all') AND l.scope = 'tenant'))
          OR (bool_or(l.resource_type = 'e2b') AND NOT bool_or(l.resource_type IN ('tool', 'all')))
      FROM (
        SELECT q.scope, q.resource_type FROM cost_quotas q
        WHERE q.tenant_id = p_tenant_id AND (q.scope = 'tenant' OR (q.scope = 'user' AND q.scope_id = p_user_id))
        UNION ALL
        SELECT q.scope, q.resource_type FROM cost_quotas q WHERE q.tenant_id IS NULL
        UNION ALL
        SELECT 'user', d.resource_type FROM user_quota_defaults d WHERE d.tenant_id = p_tenant_id AND p_user_id IS NOT NULL) AS l)
    THEN 'e2b' ELSE p_resource END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.billed_as(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.billed_as(text, text, text) TO spendlock_app;
