-- Up Migration
-- One order of locks, and what of the spend nobody has verified.
--
-- The order, for every transaction: the platform's quotas, tenants, quotas by id, reservations by id, runs, what belongs to a
-- run. Whoever holds the platform's quotas may lock more than one tenant, nobody else may, and a tenant comes before its leases.
-- A row that others name is locked FOR NO KEY UPDATE: that excludes whoever changes it, and lets inserts through that name it.
-- Only a deletion keeps those out too. See docs/architecture.md, "The order of locks".
SET LOCAL ROLE spendlock_owner;

-- The locks of 0006: a decision's, an operator's. Nothing of the platform is locked.
CREATE OR REPLACE FUNCTION copilot_internal.lock_quotas(p_tenant_id text, p_user_ids text[]) RETURNS boolean
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  PERFORM 1 FROM tenants WHERE tenant_id = p_tenant_id FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  PERFORM add_leases(ARRAY[p_tenant_id])
  WHERE EXISTS (SELECT FROM cost_quotas p WHERE p.tenant_id IS NULL
    AND NOT EXISTS (SELECT FROM cost_quotas l WHERE l.tenant_id = p_tenant_id AND l.lease_of = p.quota_id));
  IF cardinality(p_user_ids) > 0 THEN
    PERFORM add_user_quotas(p_tenant_id, p_user_ids);
  END IF;
  PERFORM 1 FROM cost_quotas
  WHERE tenant_id = p_tenant_id AND (scope <> 'user' OR scope_id = ANY (p_user_ids))
  ORDER BY quota_id FOR NO KEY UPDATE;
  RETURN true;
END
$$;

-- The platform's locks: its quotas, by id. They come before any tenant's.
CREATE FUNCTION copilot_internal.lock_platform() RETURNS void
  LANGUAGE sql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT FROM cost_quotas WHERE tenant_id IS NULL ORDER BY quota_id FOR NO KEY UPDATE
$$;

-- Takes idle parts of leases back, the largest first and whole, until `p_missing` is freed. Tenants that a decision is taken
-- for are waited for only when the others were not enough. The platform's rows are locked.
CREATE OR REPLACE FUNCTION copilot_internal.reclaim_leases(p_platform_quota_id uuid, p_missing_usd numeric, p_except_tenant_id text)
  RETURNS numeric
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_freed numeric := 0;
  v_idle record;
  v_lease cost_quotas;
  v_waits boolean;
BEGIN
  FOREACH v_waits IN ARRAY ARRAY[false, true] LOOP
    FOR v_idle IN
      SELECT quota_id, tenant_id FROM cost_quotas
      WHERE lease_of = p_platform_quota_id AND tenant_id IS DISTINCT FROM p_except_tenant_id
        AND limit_usd > current_spend_usd + reserved_usd
      ORDER BY limit_usd - current_spend_usd - reserved_usd DESC
    LOOP
      EXIT WHEN v_freed >= p_missing_usd;
      IF v_waits THEN
        PERFORM 1 FROM tenants WHERE tenant_id = v_idle.tenant_id FOR NO KEY UPDATE;
      ELSE
        PERFORM 1 FROM tenants WHERE tenant_id = v_idle.tenant_id FOR NO KEY UPDATE SKIP LOCKED;
      END IF;
      CONTINUE WHEN NOT FOUND;
      SELECT * INTO v_lease FROM cost_quotas WHERE quota_id = v_idle.quota_id FOR NO KEY UPDATE;
      CONTINUE WHEN NOT FOUND OR v_lease.limit_usd <= v_lease.current_spend_usd + v_lease.reserved_usd;
      UPDATE cost_quotas SET limit_usd = current_spend_usd + reserved_usd, updated_at = clock_timestamp()
      WHERE quota_id = v_idle.quota_id;
      v_freed := v_freed + v_lease.limit_usd - v_lease.current_spend_usd - v_lease.reserved_usd;
    END LOOP;
    EXIT WHEN v_freed >= p_missing_usd;
  END LOOP;
  RETURN v_freed;
END
$$;

-- The platform's rows are locked: begins the period around `p_now` where it has ended, for the platform and for leases
-- whose tenants slept through it.
CREATE OR REPLACE FUNCTION copilot_internal.reset_platform_period(p_platform_quota_id uuid, p_now timestamptz) RETURNS void
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  PERFORM 1 FROM tenants WHERE tenant_id IN (
    SELECT tenant_id FROM cost_quotas WHERE lease_of = p_platform_quota_id AND period_end <= p_now)
  ORDER BY tenant_id FOR NO KEY UPDATE;
  UPDATE cost_quotas q
  SET current_spend_usd = 0, topup_usd = 0, period_start = b.period_start, period_end = b.period_end, updated_at = p_now,
      limit_usd = CASE WHEN q.lease_of IS NULL THEN q.limit_usd ELSE q.reserved_usd END, exhausted_until = NULL
  FROM period_bounds((SELECT period FROM cost_quotas WHERE quota_id = p_platform_quota_id), p_now) AS b
  WHERE (q.quota_id = p_platform_quota_id OR q.lease_of = p_platform_quota_id) AND q.period_end <= p_now;
END
$$;

-- The drawing of 0006. It locks the platform, then its tenant, then others as far as it takes back what is theirs.
CREATE OR REPLACE FUNCTION copilot_internal.draw_lease(p_tenant_id text, p_needs jsonb) RETURNS boolean
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_now timestamptz;
  v_need record;
  v_platform cost_quotas;
  v_lease cost_quotas;
  v_free numeric;
  v_short numeric;
  v_taken numeric;
  v_met boolean := true;
BEGIN
  PERFORM lock_platform();
  PERFORM 1 FROM tenants WHERE tenant_id = p_tenant_id FOR NO KEY UPDATE;
  v_now := clock_timestamp();
  FOR v_need IN
    SELECT l.quota_id, sum(n."neededUsd") AS needed_usd, l.lease_of
    FROM jsonb_to_recordset(p_needs) AS n ("quotaId" uuid, "neededUsd" numeric)
    JOIN cost_quotas l ON l.quota_id = n."quotaId" AND l.tenant_id = p_tenant_id AND l.lease_of IS NOT NULL
    GROUP BY l.quota_id
    ORDER BY l.lease_of
  LOOP
    PERFORM reset_platform_period(v_need.lease_of, v_now);
    SELECT * INTO v_platform FROM cost_quotas WHERE quota_id = v_need.lease_of;
    SELECT * INTO v_lease FROM cost_quotas WHERE quota_id = v_need.quota_id FOR NO KEY UPDATE;
    SELECT v_platform.limit_usd + v_platform.topup_usd - coalesce(sum(greatest(limit_usd, current_spend_usd + reserved_usd)), 0)
    INTO v_free FROM cost_quotas WHERE lease_of = v_platform.quota_id;
    -- After an overrun a lease holds more than it was given; that much is counted already.
    v_short := v_need.needed_usd - greatest(v_lease.limit_usd - v_lease.current_spend_usd - v_lease.reserved_usd, 0);
    IF v_free < v_short THEN
      v_free := v_free + reclaim_leases(v_platform.quota_id, v_short - v_free, p_tenant_id);
    END IF;
    v_taken := greatest(least(v_short + trunc(greatest(v_free - v_short, 0) / 64, 12), v_free), 0);
    IF v_taken < v_short THEN
      v_met := false;
      PERFORM raise_platform_alerts(v_platform.quota_id, v_need.needed_usd);
    ELSE
      PERFORM raise_platform_alerts(v_platform.quota_id);
    END IF;
    UPDATE cost_quotas
    SET limit_usd = greatest(limit_usd, current_spend_usd + reserved_usd) + v_taken, updated_at = v_now,
        exhausted_until = CASE WHEN v_taken < v_short THEN clock_timestamp() + interval '1 second' END,
        platform_frees_at = CASE WHEN v_taken < v_short THEN (
          SELECT min(r.expires_at) FROM reservations r
          WHERE r.status = 'granted' AND r.outcome IS NULL AND coalesce(r.on_expiry = 'release', r.claimed_at IS NULL)
            AND v_platform.resource_type IN ('all', r.resource)) END
    WHERE quota_id = v_need.quota_id;
  END LOOP;
  RETURN v_met;
END
$$;

-- Gives back what is idle of a tenant's leases. Lowering needs no lock of the platform.
CREATE OR REPLACE FUNCTION copilot_internal.return_leases(p_tenant_id text) RETURNS void
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  PERFORM 1 FROM tenants WHERE tenant_id = p_tenant_id FOR NO KEY UPDATE;
  UPDATE cost_quotas SET limit_usd = current_spend_usd + reserved_usd, updated_at = clock_timestamp()
  WHERE tenant_id = p_tenant_id AND lease_of IS NOT NULL AND limit_usd > current_spend_usd + reserved_usd;
END
$$;

-- The trigger of 0006. Whoever changes a platform quota by hand holds that row already; who adds one waits for those that draw.
CREATE OR REPLACE FUNCTION copilot_internal.follow_platform_quota() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_over numeric;
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM lock_platform();
    PERFORM 1 FROM tenants ORDER BY tenant_id FOR NO KEY UPDATE;
    PERFORM add_leases(ARRAY(SELECT tenant_id FROM tenants));
    RETURN NULL;
  END IF;
  SELECT coalesce(sum(greatest(limit_usd, current_spend_usd + reserved_usd)), 0) - NEW.limit_usd - NEW.topup_usd
  INTO v_over FROM cost_quotas WHERE lease_of = NEW.quota_id;
  IF v_over > 0 THEN
    PERFORM reclaim_leases(NEW.quota_id, v_over, NULL);
  ELSE
    PERFORM 1 FROM tenants WHERE tenant_id IN (
      SELECT tenant_id FROM cost_quotas WHERE lease_of = NEW.quota_id AND exhausted_until IS NOT NULL)
    ORDER BY tenant_id FOR NO KEY UPDATE;
    UPDATE cost_quotas SET exhausted_until = NULL WHERE lease_of = NEW.quota_id AND exhausted_until IS NOT NULL;
  END IF;
  RETURN NULL;
END
$$;

-- Sets a platform quota. Administration's; its caller writes the audit entry. Quotas that are new are rows that nobody else can
-- wait for yet, so those who set some wait for each other by a lock of their own.
CREATE OR REPLACE FUNCTION copilot_internal.set_platform_quota(p_resource_type text, p_period text, p_limit_usd numeric,
    p_warning_threshold numeric, p_more_warning_thresholds numeric[]) RETURNS void
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('spendlock.set_platform_quota'));
  PERFORM lock_platform();
  INSERT INTO cost_quotas AS q (scope, scope_id, resource_type, period, limit_usd, warning_threshold,
                                more_warning_thresholds, period_start, period_end)
  SELECT 'platform', 'platform', p_resource_type, p_period, p_limit_usd, coalesce(p_warning_threshold, 0.80),
         coalesce(p_more_warning_thresholds, '{}'), b.period_start, b.period_end
  FROM period_bounds(p_period, clock_timestamp()) AS b
  ON CONFLICT (tenant_id, scope, scope_id, resource_type, period) DO UPDATE
  SET limit_usd = excluded.limit_usd, warning_threshold = coalesce(p_warning_threshold, q.warning_threshold),
      more_warning_thresholds = coalesce(p_more_warning_thresholds, q.more_warning_thresholds), updated_at = clock_timestamp();
END
$$;

-- Requirement Q9. What it grants is drawn from the platform first: platform, then tenant. So it is the first that its transaction
-- locks.
CREATE OR REPLACE FUNCTION copilot_internal.check_and_record_quota_atomic(p_tenant_id text, p_changes jsonb) RETURNS integer
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_user_ids text[] := ARRAY(
    SELECT DISTINCT change ->> 'userId' FROM jsonb_array_elements(p_changes) AS change WHERE change ? 'userId');
BEGIN
  IF EXISTS (SELECT FROM cost_quotas WHERE tenant_id IS NULL) THEN
    PERFORM draw_lease(p_tenant_id, (
      SELECT coalesce(jsonb_agg(jsonb_build_object('quotaId', l.quota_id, 'neededUsd', n.needed_usd)), '[]')
      FROM cost_quotas l
      CROSS JOIN LATERAL (
        SELECT sum(c."reservedDeltaUsd" + c."spentDeltaUsd") AS needed_usd
        FROM jsonb_to_recordset(p_changes) AS c (resource text, "reservedDeltaUsd" numeric, "spentDeltaUsd" numeric, "grant" boolean)
        WHERE c."grant" AND l.resource_type IN ('all', c.resource)) AS n
      WHERE l.tenant_id = p_tenant_id AND l.lease_of IS NOT NULL AND n.needed_usd > 0));
  END IF;
  PERFORM lock_quotas(p_tenant_id, v_user_ids);
  PERFORM reset_ended_periods(p_tenant_id, clock_timestamp());
  RETURN apply_quota_changes(p_tenant_id, p_changes);
END
$$;

-- These lock runs, which are named by what belongs to them, against those only who change them.
DO $weaker$
DECLARE
  v_name text;
  v_text text;
BEGIN
  FOREACH v_name IN ARRAY ARRAY['append_run_event', 'add_turn', 'take_unseen_runs', 'forget_transcripts', 'forget_events'] LOOP
    v_text := (SELECT pg_get_functiondef(oid) FROM pg_proc
               WHERE proname = v_name AND pronamespace = 'copilot_internal'::regnamespace);
    IF position(' FOR UPDATE' IN v_text) = 0 THEN
      RAISE EXCEPTION '% does not lock what it is said to lock', v_name;
    END IF;
    EXECUTE replace(v_text, ' FOR UPDATE', ' FOR NO KEY UPDATE');
  END LOOP;
END
$weaker$;

-- The forgetting of 0014. Deleted tenants that somebody holds are left for the next time.
CREATE OR REPLACE FUNCTION copilot_internal.forget_leftovers(p_requests_before timestamptz, p_max integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_count integer;
BEGIN
  DELETE FROM idempotent_requests WHERE (api_key_id, idempotency_key) IN (
    SELECT api_key_id, idempotency_key FROM idempotent_requests WHERE created_at < p_requests_before LIMIT p_max);
  GET DIAGNOSTICS v_count = ROW_COUNT;
  DELETE FROM tenants WHERE tenant_id = ANY (ARRAY(
    SELECT tenant_id FROM tenants t WHERE deleted_at IS NOT NULL AND NOT EXISTS (
      SELECT FROM cost_quotas q WHERE q.tenant_id = t.tenant_id AND q.current_spend_usd > 0 AND q.period_end > clock_timestamp())
    ORDER BY tenant_id FOR UPDATE SKIP LOCKED));
  RETURN v_count;
END
$$;

-- Whether a run of a tenant is open, or money held.
CREATE FUNCTION copilot_internal.is_busy(p_tenant_id text) RETURNS boolean
  LANGUAGE sql STABLE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT EXISTS (SELECT FROM runs WHERE tenant_id = p_tenant_id AND status = 'running')
    OR EXISTS (SELECT FROM reservations
               WHERE tenant_id = p_tenant_id AND (status = 'granted' OR (outcome IS NOT NULL AND NOT outcome_folded)))
$$;

-- The deletion of 0014. It alone keeps inserts out that name the tenant, or what they bring would be left over: last of all, since
-- they may come from whoever holds a reservation or a run. It is 'busy' as well when somebody else does not let go in time.
CREATE OR REPLACE FUNCTION copilot_internal.delete_tenant(p_tenant_id text, p_api_key_id uuid, p_author text, p_reason text)
  RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
  SET lock_timeout = '2s'
AS $$
DECLARE
  v_table text;
BEGIN
  IF NOT lock_quotas(p_tenant_id, '{}') OR EXISTS (SELECT FROM tenants WHERE tenant_id = p_tenant_id AND deleted_at IS NOT NULL) THEN
    RETURN 'unknown';
  END IF;
  IF is_busy(p_tenant_id) THEN
    RETURN 'busy';
  END IF;
  PERFORM 1 FROM reservations WHERE tenant_id = p_tenant_id ORDER BY operation_id FOR UPDATE;
  PERFORM 1 FROM runs WHERE tenant_id = p_tenant_id ORDER BY run_id FOR UPDATE;
  PERFORM 1 FROM tenants WHERE tenant_id = p_tenant_id FOR UPDATE;
  -- What came in between is there by now, and nothing more comes.
  IF is_busy(p_tenant_id) THEN
    RETURN 'busy';
  END IF;
  FOREACH v_table IN ARRAY ARRAY['quota_alerts', 'money_waiters', 'reply_deltas', 'approvals', 'turns', 'context_compactions',
    'transcript_messages', 'run_events', 'run_files', 'runs', 'cost_records', 'daily_costs', 'reservations',
    'user_quota_defaults', 'frozen_users', 'api_keys', 'audit_entries']
  LOOP
    EXECUTE format('DELETE FROM copilot_internal.%I WHERE tenant_id = $1', v_table) USING p_tenant_id;
  END LOOP;
  -- What it spent of the platform's quotas in a period that still runs stays counted.
  DELETE FROM cost_quotas WHERE tenant_id = p_tenant_id
    AND (lease_of IS NULL OR current_spend_usd = 0 OR period_end <= clock_timestamp());
  UPDATE cost_quotas SET limit_usd = current_spend_usd WHERE tenant_id = p_tenant_id;
  IF EXISTS (SELECT FROM cost_quotas WHERE tenant_id = p_tenant_id) THEN
    UPDATE tenants SET deleted_at = clock_timestamp(), name = '', frozen_at = clock_timestamp(), frozen_reason = 'deleted'
    WHERE tenant_id = p_tenant_id;
  ELSE
    DELETE FROM tenants WHERE tenant_id = p_tenant_id;
  END IF;
  INSERT INTO audit_entries (tenant_id, api_key_id, author, action, details)
  VALUES (NULL, p_api_key_id, p_author, 'delete_tenant', jsonb_build_object('tenantId', p_tenant_id, 'reason', p_reason));
  RETURN 'deleted';
EXCEPTION WHEN lock_not_available THEN
  RETURN 'busy';
END
$$;

-- Of each line of the ledger, by how much it changes what is charged by estimate and not verified: an estimate raises it, and what
-- corrects an operation takes away what is left of its estimate, whatever the correction comes to.
ALTER TABLE copilot_internal.cost_records ADD COLUMN unverified_usd numeric(38, 12) NOT NULL DEFAULT 0;

CREATE FUNCTION copilot_internal.count_unverified() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  NEW.unverified_usd := CASE
    WHEN NEW.entry = 'commit' THEN NEW.amount_usd
    ELSE -coalesce((SELECT sum(unverified_usd) FROM cost_records
                    WHERE tenant_id = NEW.tenant_id AND operation_id = NEW.operation_id), 0)
  END;
  RETURN NEW;
END
$$;
REVOKE EXECUTE ON FUNCTION
  copilot_internal.count_unverified(),
  copilot_internal.lock_platform(),
  copilot_internal.is_busy(text)
  FROM PUBLIC;

CREATE TRIGGER unverified_costs BEFORE INSERT ON copilot_internal.cost_records
  FOR EACH ROW WHEN (NEW.settlement = 'unverified' OR NEW.entry <> 'commit')
  EXECUTE FUNCTION copilot_internal.count_unverified();

-- What is there: an estimate that was corrected, or that its reservation says is known by now, is not counted any more.
UPDATE copilot_internal.cost_records c SET unverified_usd = c.amount_usd
WHERE c.entry = 'commit' AND c.settlement = 'unverified' AND NOT EXISTS (
  SELECT FROM copilot_internal.reservations r
  WHERE r.tenant_id = c.tenant_id AND r.operation_id = c.operation_id AND r.settlement = 'actual');

CREATE OR REPLACE FUNCTION copilot_internal.sum_costs_by_day() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  INSERT INTO daily_costs AS d (tenant_id, day, resource, kind, model, user_id, cost_usd, unverified_usd, operations)
  SELECT tenant_id, (posted_at AT TIME ZONE 'UTC')::date, resource, kind, coalesce(model, ''), coalesce(user_id, ''),
         sum(amount_usd), sum(unverified_usd), count(*) FILTER (WHERE entry = 'commit')
  FROM recorded GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6
  ON CONFLICT (tenant_id, day, resource, kind, model, user_id) DO UPDATE
  SET cost_usd = d.cost_usd + excluded.cost_usd, unverified_usd = d.unverified_usd + excluded.unverified_usd,
      operations = d.operations + excluded.operations;
  RETURN NULL;
END
$$;

UPDATE copilot_internal.daily_costs SET unverified_usd = 0 WHERE unverified_usd <> 0;
UPDATE copilot_internal.daily_costs d SET unverified_usd = c.unverified_usd
FROM (
  SELECT tenant_id, (posted_at AT TIME ZONE 'UTC')::date AS day, resource, kind, coalesce(model, '') AS model,
         coalesce(user_id, '') AS user_id, sum(unverified_usd) AS unverified_usd
  FROM copilot_internal.cost_records WHERE unverified_usd <> 0 GROUP BY 1, 2, 3, 4, 5, 6
) AS c
WHERE (d.tenant_id, d.day, d.resource, d.kind, d.model, d.user_id) = (c.tenant_id, c.day, c.resource, c.kind, c.model, c.user_id);

-- The correction of 0005: one that changes nothing but that the estimate is known is an entry too.
CREATE OR REPLACE FUNCTION copilot_internal.adjust_cost(p_tenant_id text, p_operation_id uuid, p_cost_usd numeric, p_reason text,
    p_author text)
  RETURNS numeric
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_row reservations;
  v_entry cost_records;
  v_difference numeric;
  v_unverified numeric;
BEGIN
  PERFORM lock_quotas(p_tenant_id, ARRAY(
    SELECT user_id FROM reservations WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id AND user_id IS NOT NULL));
  PERFORM reset_ended_periods(p_tenant_id, clock_timestamp());
  SELECT * INTO v_row FROM reservations WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id FOR UPDATE;
  SELECT * INTO v_entry FROM cost_records
  WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id ORDER BY cost_record_id LIMIT 1;
  IF v_row IS NULL OR v_entry IS NULL OR (v_row.outcome IS NOT NULL AND NOT v_row.outcome_folded) THEN
    RETURN NULL;
  END IF;
  SELECT p_cost_usd - sum(amount_usd), sum(unverified_usd) INTO v_difference, v_unverified FROM cost_records
  WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id;
  IF v_difference <> 0 OR v_unverified <> 0 THEN
    INSERT INTO cost_records (tenant_id, operation_id, entry, user_id, run_id, kind, resource, model, price_version,
      amount_usd, estimated_usd, settlement, posted_at, reason, author)
    VALUES (p_tenant_id, p_operation_id, 'adjustment', v_entry.user_id, v_entry.run_id, v_entry.kind, v_entry.resource,
      v_entry.model, v_entry.price_version, v_difference, v_entry.estimated_usd, 'actual', v_entry.posted_at, p_reason, p_author);
    PERFORM apply_quota_changes(p_tenant_id, jsonb_build_array(jsonb_build_object('sequence', 0, 'userId', v_entry.user_id,
      'resource', v_entry.resource, 'reservedDeltaUsd', 0, 'spentDeltaUsd', v_difference, 'postedAt', v_entry.posted_at,
      'grant', false, 'enforced', false)));
  END IF;
  UPDATE reservations SET settlement = 'actual', committed_usd = p_cost_usd,
    overrun_usd = nullif(greatest(p_cost_usd - granted_usd, 0), 0)
  WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id AND status = 'committed';
  RETURN v_difference;
END
$$;
RESET ROLE;
