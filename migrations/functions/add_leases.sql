-- Gives tenants the leases that they lack, each as large as what was spent in the period and is reserved already.
CREATE OR REPLACE FUNCTION copilot_internal.add_leases(p_tenant_ids text[]) RETURNS void
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  INSERT INTO cost_quotas (tenant_id, scope, scope_id, resource_type, period, lease_of, period_start, period_end,
                           limit_usd, current_spend_usd, reserved_usd)
  SELECT t.tenant_id, 'platform', p.scope_id, p.resource_type, p.period, p.quota_id, b.period_start, b.period_end,
         h.spent + h.reserved, h.spent, h.reserved
  FROM unnest(p_tenant_ids) AS t (tenant_id)
  CROSS JOIN cost_quotas p
  CROSS JOIN LATERAL period_bounds(p.period, clock_timestamp()) AS b
  CROSS JOIN LATERAL (
    SELECT (SELECT coalesce(sum(c.amount_usd), 0) FROM cost_records c
            WHERE c.tenant_id = t.tenant_id AND p.resource_type IN ('all', c.resource)
              AND c.posted_at >= b.period_start AND c.posted_at < b.period_end) AS spent,
           (SELECT coalesce(sum(r.granted_usd), 0) FROM reservations r
            WHERE r.tenant_id = t.tenant_id AND (p.resource_type IN ('all', r.resource) OR p.resource_type = ANY (r.held_on))
              AND r.status = 'granted') AS reserved
  ) AS h
  WHERE p.tenant_id IS NULL
    AND NOT EXISTS (SELECT FROM cost_quotas l WHERE l.tenant_id = t.tenant_id AND l.lease_of = p.quota_id)
  ON CONFLICT DO NOTHING
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.add_leases(text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.add_leases(text[]) TO spendlock_app;
