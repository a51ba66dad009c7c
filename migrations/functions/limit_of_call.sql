-- What one call could have been granted at most: the least limit of the tenant's own, its top-up with it, that covers such a call.
-- Nothing where none does. A lease of the platform's money is no limit of the tenant's.
CREATE OR REPLACE FUNCTION copilot_internal.limit_of_call(p_tenant_id text, p_user_id text, p_resource text) RETURNS numeric
  LANGUAGE sql STABLE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT coalesce(min(now_is.whole_limit_usd), 0)
  FROM cost_quotas q CROSS JOIN LATERAL current_quota(q) AS now_is
  WHERE q.tenant_id = p_tenant_id AND (q.scope = 'tenant' OR (q.scope = 'user' AND q.scope_id = p_user_id))
    AND q.resource_type IN ('all', p_resource)
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.limit_of_call(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.limit_of_call(text, text, text) TO spendlock_app;
