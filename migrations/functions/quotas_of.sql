-- The quotas that cover what is paid by a tenant, by some of its users and under some of its labels (scope ids, `team:search`), by id: its
-- leases of the platform's, its own, those of the users and those of the labels, and of each those that are only watched. Each payer is looked up by itself (OFFSET 0 keeps the planner
-- from joining them): a plan made for any tenant takes one to have few quotas, and would read all of one that has ten thousand.
CREATE OR REPLACE FUNCTION copilot_internal.quotas_of(p_tenant_id text, p_user_ids text[], p_label_scope_ids text[])
  RETURNS SETOF copilot_internal.cost_quotas
  LANGUAGE sql STABLE
AS $$
  SELECT q.*
  FROM (
    SELECT 'platform' AS scope, 'platform' AS scope_id
    UNION ALL SELECT 'tenant', p_tenant_id
    UNION ALL SELECT 'shadow_tenant', p_tenant_id
    UNION ALL (SELECT DISTINCT s, u FROM pg_catalog.unnest(p_user_ids) AS u, pg_catalog.unnest(ARRAY['user', 'shadow_user']) AS s)
    UNION ALL (SELECT DISTINCT s, l FROM pg_catalog.unnest(p_label_scope_ids) AS l, pg_catalog.unnest(ARRAY['label', 'shadow_label']) AS s)) AS payer
  CROSS JOIN LATERAL (
    SELECT * FROM copilot_internal.cost_quotas c
    WHERE c.tenant_id = p_tenant_id AND c.scope = payer.scope AND c.scope_id = payer.scope_id
    OFFSET 0) AS q
  ORDER BY q.quota_id
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.quotas_of(text, text[], text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.quotas_of(text, text[], text[]) TO spendlock_app;
