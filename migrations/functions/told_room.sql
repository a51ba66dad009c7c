-- How much may still be told of calls that nobody had granted, before an operator has to confirm it: of each limit of the tenant and the
-- user that covers such a call twice the limit (a limit below $1: that and $1), less what is spent and held, and what goes on without a grant or is told and not folded yet. The least
-- of these; nothing where no limit covers it. Whoever tells waits here for whoever tells for the same tenant, and for nobody else.
CREATE OR REPLACE FUNCTION copilot_internal.told_room(p_tenant_id text, p_user_id text, p_resource text) RETURNS numeric
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('told ' || p_tenant_id, 7238));
  RETURN (
    SELECT greatest(coalesce(min(now_is.whole_limit_usd + greatest(now_is.whole_limit_usd, 1) - now_is.spent_usd - q.reserved_usd - coalesce(open.usd, 0)), 0), 0)
    FROM cost_quotas q CROSS JOIN LATERAL current_quota(q) AS now_is
    LEFT JOIN LATERAL (
      SELECT sum(coalesce(r.outcome_usd, r.allowed_usd, r.requested_usd)) AS usd
      FROM reservations r
      WHERE r.tenant_id = p_tenant_id AND r.status = 'granted' AND r.unreserved
        AND q.resource_type IN ('all', r.resource) AND (q.scope = 'tenant' OR r.user_id = q.scope_id)) AS open ON true
    WHERE q.tenant_id = p_tenant_id AND q.lease_of IS NULL AND q.resource_type IN ('all', p_resource)
      AND (q.scope = 'tenant' OR (q.scope = 'user' AND q.scope_id = p_user_id)));
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.told_room(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.told_room(text, text, text) TO spendlock_app;
