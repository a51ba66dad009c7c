-- What one call could have been granted at most: the least limit that covers such a call, its top-up with it, of the tenant, the user and the
-- platform. Nothing where none of the tenant's own does. A lease of the platform's money is no limit of the tenant's.
CREATE OR REPLACE FUNCTION copilot_internal.limit_of_call(p_tenant_id text, p_user_id text, p_resource text) RETURNS numeric
  LANGUAGE sql STABLE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT least(coalesce(min(now_is.whole_limit_usd) FILTER (WHERE q.tenant_id IS NOT NULL), 0),
               min(now_is.whole_limit_usd) FILTER (WHERE q.tenant_id IS NULL))
  FROM cost_quotas q CROSS JOIN LATERAL current_quota(q) AS now_is
  WHERE q.resource_type IN ('all', p_resource)
    AND (q.tenant_id IS NULL
         OR (q.tenant_id = p_tenant_id AND (q.scope = 'tenant' OR (q.scope = 'user' AND q.scope_id = p_user_id))))
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.limit_of_call(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.limit_of_call(text, text, text) TO spendlock_app;
