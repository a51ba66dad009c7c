-- Gives users their tenant's defaults where they have no quota of that resource and period, before anything of theirs is
-- decided: the first calls of a user nobody has seen before are bound together.
CREATE OR REPLACE FUNCTION copilot_internal.add_user_quotas(p_tenant_id text, p_user_ids text[]) RETURNS void
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  INSERT INTO cost_quotas (tenant_id, scope, scope_id, resource_type, period, limit_usd, warning_threshold, from_default,
                           period_start, period_end, current_spend_usd, reserved_usd)
  SELECT d.tenant_id, 'user', u.user_id, d.resource_type, d.period, d.limit_usd, d.warning_threshold, true,
         b.period_start, b.period_end,
         (SELECT coalesce(sum(amount_usd), 0) FROM cost_records c
          WHERE c.tenant_id = d.tenant_id AND c.user_id = u.user_id AND d.resource_type IN ('all', c.resource)
            AND c.posted_at >= b.period_start AND c.posted_at < b.period_end),
         (SELECT coalesce(sum(granted_usd), 0) FROM reservations r
          WHERE r.tenant_id = d.tenant_id AND r.user_id = u.user_id AND (d.resource_type IN ('all', r.resource) OR d.resource_type = ANY (r.held_on))
            AND r.status = 'granted')
  FROM user_quota_defaults d
  CROSS JOIN unnest(p_user_ids) AS u (user_id)
  CROSS JOIN LATERAL period_bounds(d.period, clock_timestamp()) AS b
  WHERE d.tenant_id = p_tenant_id AND NOT EXISTS (
    SELECT FROM cost_quotas q WHERE q.tenant_id = d.tenant_id AND q.scope = 'user' AND q.scope_id = u.user_id
      AND q.resource_type = d.resource_type AND q.period = d.period)
  ON CONFLICT DO NOTHING
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.add_user_quotas(text, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.add_user_quotas(text, text[]) TO spendlock_app;
