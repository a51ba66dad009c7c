-- The quotas that cover what is paid by a tenant, by some of its users and under some of its labels (scope ids, `team:search`): its
-- leases of the platform's, its own, those of the users and those of the labels, by id. Each is looked up by itself, since a plan made
-- for any tenant takes one to have few quotas, and would read all of one that has ten thousand.
CREATE OR REPLACE FUNCTION copilot_internal.quotas_of_payers(p_tenant_id text, p_user_ids text[], p_label_scope_ids text[] DEFAULT '{}')
  RETURNS uuid[]
  LANGUAGE plpgsql STABLE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  RETURN ARRAY(
    SELECT DISTINCT q.quota_id
    FROM (
      SELECT 'platform' AS scope, 'platform' AS scope_id
      UNION ALL SELECT 'tenant', p_tenant_id
      UNION ALL SELECT 'user', unnest(p_user_ids)
      UNION ALL SELECT 'label', unnest(p_label_scope_ids)) AS payer
    CROSS JOIN LATERAL (
      SELECT quota_id FROM cost_quotas
      WHERE tenant_id = p_tenant_id AND scope = payer.scope AND scope_id = payer.scope_id
      OFFSET 0) AS q
    ORDER BY q.quota_id);
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.quotas_of_payers(text, text[], text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.quotas_of_payers(text, text[], text[]) TO spendlock_app;
