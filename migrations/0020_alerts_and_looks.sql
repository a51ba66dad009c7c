-- Up Migration
-- Alerts are sent by whoever takes them, with no transaction open meanwhile; upkeep looks at everybody in turn; and a run remembers
-- the namespace of Temporal in which it was started, so that workers elsewhere do not take it for lost.
SET LOCAL ROLE spendlock_owner;

-- When an alert may be tried: at once, or when the last try has surely ended.
ALTER TABLE copilot_internal.quota_alerts
  ADD COLUMN next_try_at timestamptz NOT NULL DEFAULT '-infinity',
  ADD COLUMN tries integer NOT NULL DEFAULT 0;
CREATE INDEX quota_alerts_due ON copilot_internal.quota_alerts (next_try_at, raised_at) WHERE sent_at IS NULL;

-- Takes alerts of all tenants that are due. Nobody else gets them for as long as p_lease; who does not say until then what became of
-- one has ended, and it is tried again.
CREATE FUNCTION copilot_internal.take_due_alerts(p_max integer, p_lease interval)
  RETURNS TABLE (alert_id uuid, tenant_id text, kind text, threshold numeric, details jsonb, tries integer)
  LANGUAGE sql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  UPDATE quota_alerts a SET tries = a.tries + 1, next_try_at = clock_timestamp() + p_lease
  FROM (
    SELECT u.alert_id FROM quota_alerts u WHERE u.sent_at IS NULL AND u.next_try_at <= clock_timestamp()
    ORDER BY u.next_try_at, u.raised_at LIMIT p_max FOR UPDATE SKIP LOCKED
  ) AS due
  WHERE a.alert_id = due.alert_id
  RETURNING a.alert_id, a.tenant_id, a.kind, a.threshold, a.details, a.tries
$$;

-- The last tenant that upkeep looked at.
ALTER TABLE copilot_internal.installation ADD COLUMN looked_at_tenant text NOT NULL DEFAULT '';

-- The look of 0006, in rotation: where more tenants wait than one look takes, the next goes on behind the last. Alerts are no part of
-- it any more.
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
    ) AS waiting
    ORDER BY tenant_id <= v_last, tenant_id
    LIMIT p_max);
  IF cardinality(v_waiting) > 0 THEN
    UPDATE installation SET looked_at_tenant = v_waiting[cardinality(v_waiting)];
  END IF;
  RETURN QUERY SELECT unnest(v_waiting);
END
$$;

-- Where a run's workflow was asked for. Null where it is not known: of rows that a version before wrote.
ALTER TABLE copilot_internal.runs ADD COLUMN namespace text;
CREATE INDEX runs_by_namespace ON copilot_internal.runs (namespace) WHERE namespace IS NOT NULL;

-- The unseen runs of 0007 that were started in this namespace; one that does not say where only while all that say so name this one.
CREATE FUNCTION copilot_internal.take_unseen_runs(p_unseen_for interval, p_max integer, p_namespace text)
  RETURNS TABLE (tenant_id text, run_id uuid, workflow_id text, seen_at text)
  LANGUAGE sql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  UPDATE runs r SET seen_at = clock_timestamp()
  FROM (
    SELECT u.run_id FROM runs u
    WHERE u.status = 'running' AND u.seen_at < clock_timestamp() - p_unseen_for
      AND (u.namespace = p_namespace OR u.namespace IS NULL AND (
        SELECT min(n.namespace) = p_namespace AND max(n.namespace) = p_namespace FROM runs n WHERE n.namespace IS NOT NULL))
    ORDER BY u.seen_at LIMIT p_max FOR NO KEY UPDATE SKIP LOCKED
  ) AS unseen
  WHERE r.run_id = unseen.run_id
  RETURNING r.tenant_id, r.run_id, r.workflow_id, r.seen_at::text
$$;

REVOKE EXECUTE ON FUNCTION
  copilot_internal.take_due_alerts(integer, interval),
  copilot_internal.take_unseen_runs(interval, integer, text)
  FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
  copilot_internal.take_due_alerts(integer, interval),
  copilot_internal.take_unseen_runs(interval, integer, text)
  TO spendlock_app;
RESET ROLE;
