-- What an installation looks after beside its tenants' decisions: raises the platform's alerts, and names tenants whose
-- authority has something to do and may be asleep: an overdue reservation, an outcome that waits, what a decision under its mandate
-- left to do, or somebody who waits for money that is there and was not woken, or did not hear it. It goes round: where more tenants wait than one look takes, the next goes on behind the last.
CREATE OR REPLACE FUNCTION copilot_internal.look_after(p_max integer) RETURNS SETOF text
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_last text;
  v_waiting text[];
BEGIN
  -- In the order in which leases are drawn, so that two that raise the same alerts do not wait for each other.
  PERFORM raise_platform_alerts(p.quota_id) FROM (
    SELECT quota_id FROM cost_quotas WHERE tenant_id IS NULL AND period_end > clock_timestamp() ORDER BY quota_id) AS p;
  -- Two looks at once take turns.
  SELECT looked_at_tenant INTO v_last FROM installation FOR UPDATE;
  v_waiting := ARRAY(
    SELECT tenant_id FROM (
      SELECT r.tenant_id FROM reservations r WHERE r.status = 'granted' AND r.expires_at < clock_timestamp() - interval '5 seconds'
      UNION
      SELECT r.tenant_id FROM reservations r
      WHERE r.outcome IS NOT NULL AND NOT r.outcome_folded AND r.outcome_at < clock_timestamp() - interval '30 seconds'
      UNION
      SELECT m.tenant_id FROM mandates m
      WHERE m.needed_at < clock_timestamp() - interval '5 seconds' OR m.left_at < clock_timestamp() - interval '70 seconds'
      UNION
      -- Whether the money is there for it is decided by whoever wakes it: this only leaves out what surely has to wait on.
      SELECT w.tenant_id FROM money_waiters w
      WHERE w.is_woken AND coalesce(w.woken_at, w.waiting_since) < clock_timestamp() - interval '30 seconds'
        -- Of each by itself, so that limits are found by their key, of however many users and labels there are. A step of the version
        -- before says no labels of its own, but asked with them.
        AND (SELECT true FROM cost_quotas q, current_quota(q) AS c
          WHERE q.tenant_id = w.tenant_id AND q.scope IN ('tenant', 'user') AND (q.scope = 'tenant' OR q.scope_id = w.user_id)
            AND q.lease_of IS NULL AND q.resource_type IN ('all', w.resource)
            AND c.whole_limit_usd - c.spent_usd - q.reserved_usd < w.needed_usd LIMIT 1) IS NULL
        AND (SELECT true FROM cost_quotas q, current_quota(q) AS c
          WHERE q.tenant_id = w.tenant_id AND q.scope = 'label' AND q.scope_id = ANY (ARRAY(
              SELECT s.scope_id FROM label_scopes(w.tenant_id, ARRAY[coalesce(w.labels,
                (SELECT r.labels FROM reservations r WHERE r.tenant_id = w.tenant_id AND r.operation_id = w.waiter_id))]) AS s))
            AND q.resource_type IN ('all', w.resource)
            AND c.whole_limit_usd - c.spent_usd - q.reserved_usd < w.needed_usd LIMIT 1) IS NULL
    ) AS waiting
    ORDER BY tenant_id <= v_last, tenant_id
    LIMIT p_max);
  IF cardinality(v_waiting) > 0 THEN
    UPDATE installation SET looked_at_tenant = v_waiting[cardinality(v_waiting)];
  END IF;
  RETURN QUERY SELECT unnest(v_waiting);
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.look_after(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.look_after(integer) TO spendlock_app;
