-- Up Migration
-- The platform's quota spans tenants. Each tenant draws a lease from it, a quota row of its own (scope `platform`, with
-- the tenant), and spends from that: so the platform is not on every call's path. The sum of the leases never exceeds the
-- platform's limit. A lease has no expiry by clock; the platform takes back what of it is idle, before it denies.
--
-- Locks: platform rows first, then leases; a decision locks its tenant's leases with its other quotas and never the
-- platform. A lease's limit is changed only under the platform's lock, or lowered by its own tenant.
SET LOCAL ROLE spendlock_owner;

ALTER TABLE copilot_internal.cost_quotas
  ADD COLUMN lease_of uuid REFERENCES copilot_internal.cost_quotas ON DELETE CASCADE,
  -- Until then the platform is known to have no more for this lease, and when the next hold of anybody may make room.
  ADD COLUMN exhausted_until timestamptz,
  ADD COLUMN platform_frees_at timestamptz,
  DROP CONSTRAINT cost_quotas_check1,
  ADD CONSTRAINT cost_quotas_scope_tenant_check CHECK (
    CASE scope WHEN 'platform' THEN (tenant_id IS NULL) = (lease_of IS NULL) ELSE tenant_id IS NOT NULL AND lease_of IS NULL END);
CREATE INDEX cost_quotas_leases ON copilot_internal.cost_quotas (lease_of) WHERE lease_of IS NOT NULL;
COMMENT ON COLUMN copilot_internal.cost_quotas.current_spend_usd IS
  'Sum of the ledger entries of the period. Not kept on the platform''s own rows: their leases have it, and list_platform_quotas() adds it up.';

-- Only what is leased is decided by tenants; the platform's own rows are read by them, and changed by the functions below.
DROP POLICY platform_quotas ON copilot_internal.cost_quotas;
CREATE POLICY platform_quotas ON copilot_internal.cost_quotas FOR SELECT TO spendlock_app USING (tenant_id IS NULL);

-- A lease begins its period with what it still holds reserved; the rest of it is lost.
CREATE OR REPLACE FUNCTION copilot_internal.reset_ended_periods(p_tenant_id text, p_now timestamptz) RETURNS void
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  UPDATE cost_quotas q
  SET current_spend_usd = 0, topup_usd = 0, period_start = b.period_start, period_end = b.period_end, updated_at = p_now,
      limit_usd = CASE WHEN q.lease_of IS NULL THEN q.limit_usd ELSE q.reserved_usd END, exhausted_until = NULL
  FROM cost_quotas old, period_bounds(old.period, p_now) AS b
  WHERE old.quota_id = q.quota_id AND q.tenant_id = p_tenant_id AND q.period_end <= p_now
$$;

-- Gives tenants the leases that they lack, each as large as what was spent in the period and is reserved already.
CREATE FUNCTION copilot_internal.add_leases(p_tenant_ids text[]) RETURNS void
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
            WHERE r.tenant_id = t.tenant_id AND p.resource_type IN ('all', r.resource) AND r.status = 'granted') AS reserved
  ) AS h
  WHERE p.tenant_id IS NULL
    AND NOT EXISTS (SELECT FROM cost_quotas l WHERE l.tenant_id = t.tenant_id AND l.lease_of = p.quota_id)
  ON CONFLICT DO NOTHING
$$;

-- Takes idle parts of leases back, the largest first and whole, until `p_missing` is freed. Leases that a decision is
-- using are waited for only when the others were not enough.
CREATE FUNCTION copilot_internal.reclaim_leases(p_platform_quota_id uuid, p_missing_usd numeric, p_except_tenant_id text)
  RETURNS numeric
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_freed numeric := 0;
  v_quota_id uuid;
  v_lease cost_quotas;
  v_waits boolean;
BEGIN
  FOREACH v_waits IN ARRAY ARRAY[false, true] LOOP
    FOR v_quota_id IN
      SELECT quota_id FROM cost_quotas
      WHERE lease_of = p_platform_quota_id AND tenant_id IS DISTINCT FROM p_except_tenant_id
        AND limit_usd > current_spend_usd + reserved_usd
      ORDER BY limit_usd - current_spend_usd - reserved_usd DESC
    LOOP
      EXIT WHEN v_freed >= p_missing_usd;
      IF v_waits THEN
        SELECT * INTO v_lease FROM cost_quotas WHERE quota_id = v_quota_id FOR UPDATE;
      ELSE
        SELECT * INTO v_lease FROM cost_quotas WHERE quota_id = v_quota_id FOR UPDATE SKIP LOCKED;
      END IF;
      CONTINUE WHEN NOT FOUND OR v_lease.limit_usd <= v_lease.current_spend_usd + v_lease.reserved_usd;
      UPDATE cost_quotas SET limit_usd = current_spend_usd + reserved_usd, updated_at = clock_timestamp()
      WHERE quota_id = v_quota_id;
      v_freed := v_freed + v_lease.limit_usd - v_lease.current_spend_usd - v_lease.reserved_usd;
    END LOOP;
    EXIT WHEN v_freed >= p_missing_usd;
  END LOOP;
  RETURN v_freed;
END
$$;

-- The platform's rows are locked: begins the period around `p_now` where it has ended, for the platform and for leases
-- whose tenants slept through it.
CREATE FUNCTION copilot_internal.reset_platform_period(p_platform_quota_id uuid, p_now timestamptz) RETURNS void
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  UPDATE cost_quotas q
  SET current_spend_usd = 0, topup_usd = 0, period_start = b.period_start, period_end = b.period_end, updated_at = p_now,
      limit_usd = CASE WHEN q.lease_of IS NULL THEN q.limit_usd ELSE q.reserved_usd END, exhausted_until = NULL
  FROM period_bounds((SELECT period FROM cost_quotas WHERE quota_id = p_platform_quota_id), p_now) AS b
  WHERE (q.quota_id = p_platform_quota_id OR q.lease_of = p_platform_quota_id) AND q.period_end <= p_now
$$;

-- Raises the alerts that the platform's spend calls for, once per threshold and period.
CREATE FUNCTION copilot_internal.raise_platform_alerts(p_platform_quota_id uuid, p_refused_usd numeric DEFAULT NULL)
  RETURNS void
  LANGUAGE sql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  WITH platform AS (
    SELECT p.*, p.limit_usd + p.topup_usd AS ceiling_usd, l.spent, l.reserved
    FROM cost_quotas p
    CROSS JOIN LATERAL (
      SELECT coalesce(sum(current_spend_usd) FILTER (WHERE period_start = p.period_start), 0) AS spent,
             coalesce(sum(reserved_usd), 0) AS reserved
      FROM cost_quotas WHERE lease_of = p.quota_id) AS l
    WHERE p.quota_id = p_platform_quota_id AND p.tenant_id IS NULL
  )
  INSERT INTO quota_alerts (quota_id, kind, threshold, period_start, details)
  SELECT p.quota_id, a.kind, a.threshold, p.period_start, jsonb_strip_nulls(jsonb_build_object(
           'scope', 'platform', 'scopeId', p.scope_id, 'resourceType', p.resource_type, 'period', p.period,
           'limitUsd', trim_scale(p.ceiling_usd)::text, 'spentUsd', trim_scale(p.spent)::text,
           'reservedUsd', trim_scale(p.reserved)::text,
           'utilizationPercent', CASE p.ceiling_usd WHEN 0 THEN 100 ELSE trunc(p.spent * 100 / p.ceiling_usd, 2) END,
           'estimatedUsd', CASE a.kind WHEN 'quota_exceeded' THEN trim_scale(p_refused_usd)::text END))
  FROM platform p
  CROSS JOIN LATERAL (
    SELECT 'quota_warning' AS kind, t AS threshold FROM unnest(p.warning_threshold || p.more_warning_thresholds) AS t
    WHERE p.spent > 0 AND p.spent >= p.ceiling_usd * t
    UNION ALL
    SELECT 'quota_exceeded', NULL WHERE p_refused_usd IS NOT NULL OR p.spent + p.reserved > p.ceiling_usd
  ) AS a
  ON CONFLICT DO NOTHING
$$;

-- Draws for a tenant's leases what they lack of what is needed from them, and a little ahead: a sixty-fourth of what is
-- free, so that draws are few while the platform has much and fair when it has little. What is idle elsewhere is taken back
-- before a lease counts as exhausted.
--   p_needs: [{quotaId (of the lease), neededUsd}]; what names one lease adds up
-- Answers whether every need was met.
CREATE FUNCTION copilot_internal.draw_lease(p_tenant_id text, p_needs jsonb) RETURNS boolean
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
  PERFORM 1 FROM cost_quotas WHERE tenant_id IS NULL ORDER BY quota_id FOR UPDATE;
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
    SELECT * INTO v_lease FROM cost_quotas WHERE quota_id = v_need.quota_id FOR UPDATE;
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
CREATE FUNCTION copilot_internal.return_leases(p_tenant_id text) RETURNS void
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  UPDATE cost_quotas SET limit_usd = current_spend_usd + reserved_usd, updated_at = clock_timestamp()
  WHERE tenant_id = p_tenant_id AND lease_of IS NOT NULL AND limit_usd > current_spend_usd + reserved_usd
$$;

-- Whoever makes or changes the platform's quota, by API or by hand: a new one counts what every tenant has spent and holds
-- already, a lower one takes idle parts back at once, a higher one is there for those who found it exhausted.
CREATE FUNCTION copilot_internal.follow_platform_quota() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_over numeric;
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM 1 FROM tenants ORDER BY tenant_id FOR UPDATE;
    PERFORM add_leases(ARRAY(SELECT tenant_id FROM tenants));
    RETURN NULL;
  END IF;
  SELECT coalesce(sum(greatest(limit_usd, current_spend_usd + reserved_usd)), 0) - NEW.limit_usd - NEW.topup_usd
  INTO v_over FROM cost_quotas WHERE lease_of = NEW.quota_id;
  IF v_over > 0 THEN
    PERFORM reclaim_leases(NEW.quota_id, v_over, NULL);
  ELSE
    UPDATE cost_quotas SET exhausted_until = NULL WHERE lease_of = NEW.quota_id AND exhausted_until IS NOT NULL;
  END IF;
  RETURN NULL;
END
$$;
CREATE TRIGGER new_platform_quota AFTER INSERT ON copilot_internal.cost_quotas
  FOR EACH ROW WHEN (NEW.tenant_id IS NULL) EXECUTE FUNCTION copilot_internal.follow_platform_quota();
CREATE TRIGGER changed_platform_quota AFTER UPDATE OF limit_usd, topup_usd ON copilot_internal.cost_quotas
  FOR EACH ROW WHEN (NEW.tenant_id IS NULL) EXECUTE FUNCTION copilot_internal.follow_platform_quota();

-- Administration's platform quotas, with what all tenants have spent, reserved and leased of them.
CREATE FUNCTION copilot_internal.list_platform_quotas()
  RETURNS TABLE (scope text, scope_id text, resource_type text, period text, limit_usd numeric, topup_usd numeric,
                 spent_usd numeric, reserved_usd numeric, leased_usd numeric, warning_threshold numeric,
                 more_warning_thresholds numeric[], period_start timestamptz, period_end timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT p.scope, p.scope_id, p.resource_type, p.period, p.limit_usd,
         CASE WHEN p.period_end <= now() THEN 0 ELSE p.topup_usd END, l.spent, l.reserved, l.leased, p.warning_threshold,
         p.more_warning_thresholds, b.period_start, b.period_end
  FROM cost_quotas p
  CROSS JOIN LATERAL period_bounds(p.period, greatest(now(), p.period_start)) AS b
  CROSS JOIN LATERAL (
    SELECT coalesce(sum(current_spend_usd) FILTER (WHERE period_end > now()), 0) AS spent,
           coalesce(sum(reserved_usd), 0) AS reserved,
           coalesce(sum(CASE WHEN period_end > now() THEN greatest(limit_usd, current_spend_usd + reserved_usd)
                             ELSE reserved_usd END), 0) AS leased
    FROM cost_quotas WHERE lease_of = p.quota_id) AS l
  WHERE p.tenant_id IS NULL
  ORDER BY p.resource_type, p.period
$$;

-- Sets a platform quota. Administration's; its caller writes the audit entry.
CREATE FUNCTION copilot_internal.set_platform_quota(p_resource_type text, p_period text, p_limit_usd numeric,
    p_warning_threshold numeric, p_more_warning_thresholds numeric[]) RETURNS void
  LANGUAGE sql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  INSERT INTO cost_quotas AS q (scope, scope_id, resource_type, period, limit_usd, warning_threshold,
                                more_warning_thresholds, period_start, period_end)
  SELECT 'platform', 'platform', p_resource_type, p_period, p_limit_usd, coalesce(p_warning_threshold, 0.80),
         coalesce(p_more_warning_thresholds, '{}'), b.period_start, b.period_end
  FROM period_bounds(p_period, clock_timestamp()) AS b
  ON CONFLICT (tenant_id, scope, scope_id, resource_type, period) DO UPDATE
  SET limit_usd = excluded.limit_usd, warning_threshold = coalesce(p_warning_threshold, q.warning_threshold),
      more_warning_thresholds = coalesce(p_more_warning_thresholds, q.more_warning_thresholds), updated_at = clock_timestamp()
$$;

-- What an installation looks after beside its tenants' decisions: raises the platform's alerts, and names tenants whose
-- authority has something to do and may be asleep: an overdue reservation, an outcome that waits, an alert to send.
CREATE FUNCTION copilot_internal.look_after(p_max integer) RETURNS SETOF text
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  PERFORM raise_platform_alerts(quota_id) FROM cost_quotas WHERE tenant_id IS NULL AND period_end > clock_timestamp();
  RETURN QUERY
    SELECT tenant_id FROM (
      SELECT r.tenant_id FROM reservations r WHERE r.status = 'granted' AND r.expires_at < clock_timestamp() - interval '5 seconds'
      UNION
      SELECT r.tenant_id FROM reservations r
      WHERE r.outcome IS NOT NULL AND NOT r.outcome_folded AND r.outcome_at < clock_timestamp() - interval '30 seconds'
      UNION
      SELECT a.tenant_id FROM quota_alerts a WHERE a.sent_at IS NULL AND a.raised_at < clock_timestamp() - interval '30 seconds'
    ) AS waiting
    WHERE tenant_id IS NOT NULL
    LIMIT p_max;
END
$$;

-- A decision's locks: tenant, its quotas (its leases among them) and those of the named users.
CREATE OR REPLACE FUNCTION copilot_internal.lock_quotas(p_tenant_id text, p_user_ids text[]) RETURNS boolean
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_known boolean;
BEGIN
  PERFORM 1 FROM tenants WHERE tenant_id = p_tenant_id FOR UPDATE;
  v_known := FOUND;
  IF NOT v_known THEN
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
  ORDER BY quota_id FOR UPDATE;
  RETURN v_known;
END
$$;

-- The guard of 0005; a tenant's leases are quotas of its own.
CREATE OR REPLACE FUNCTION copilot_internal.apply_quota_changes(p_tenant_id text, p_changes jsonb) RETURNS integer
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_crossed jsonb;
  v_updated integer;
BEGIN
  IF jsonb_array_length(p_changes) = 0 THEN
    RETURN 0;
  END IF;
  WITH effects AS MATERIALIZED (
    SELECT q.quota_id, q.scope, q.scope_id, q.resource_type, q.limit_usd + q.topup_usd AS limit_usd, c.sequence,
           c."grant" AND c.enforced AS binds, c."reservedDeltaUsd" AS reserved_delta_usd,
           CASE WHEN c."postedAt" >= q.period_start AND c."postedAt" < q.period_end THEN c."spentDeltaUsd" ELSE 0 END AS spent_delta_usd,
           q.current_spend_usd + q.reserved_usd AS held_usd
    FROM jsonb_to_recordset(p_changes) AS c (
           sequence integer, "userId" text, resource text, "reservedDeltaUsd" numeric, "spentDeltaUsd" numeric,
           "postedAt" timestamptz, "grant" boolean, enforced boolean)
    JOIN cost_quotas q
      ON (q.resource_type = c.resource OR q.resource_type = 'all')
     AND q.tenant_id = p_tenant_id AND (q.scope <> 'user' OR q.scope_id = c."userId")
  ), crossed AS (
    SELECT * FROM (
      SELECT e.*, e.held_usd + sum(e.reserved_delta_usd + e.spent_delta_usd)
               OVER (PARTITION BY e.quota_id ORDER BY e.sequence) AS lifted_to_usd
      FROM effects e) AS lifted
    WHERE binds AND lifted_to_usd > limit_usd
    ORDER BY sequence LIMIT 1
  ), updated AS (
    UPDATE cost_quotas q
    SET reserved_usd = q.reserved_usd + t.reserved_delta_usd,
        current_spend_usd = q.current_spend_usd + t.spent_delta_usd,
        updated_at = clock_timestamp()
    FROM (
      SELECT quota_id, sum(reserved_delta_usd) AS reserved_delta_usd, sum(spent_delta_usd) AS spent_delta_usd
      FROM effects GROUP BY quota_id
    ) AS t
    WHERE q.quota_id = t.quota_id AND (t.reserved_delta_usd <> 0 OR t.spent_delta_usd <> 0)
      AND NOT EXISTS (SELECT FROM crossed)
    RETURNING 1
  )
  SELECT (SELECT to_jsonb(crossed) FROM crossed), (SELECT count(*) FROM updated) INTO v_crossed, v_updated;
  IF v_crossed IS NOT NULL THEN
    RAISE EXCEPTION 'quota_guard: change % would lift the % quota of % % to % USD, above its limit of % USD; nothing was recorded',
      v_crossed ->> 'sequence', v_crossed ->> 'resource_type', v_crossed ->> 'scope', v_crossed ->> 'scope_id',
      v_crossed ->> 'lifted_to_usd', v_crossed ->> 'limit_usd'
      USING ERRCODE = 'SL001';
  END IF;
  RETURN v_updated;
END
$$;

-- Requirement Q9. What it grants is drawn from the platform first.
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

-- The reading of 0005; a lease says what it is part of, and whether the platform has more.
CREATE OR REPLACE FUNCTION copilot_internal.load_budget_batch(p_tenant_id text, p_operation_ids uuid[], p_user_ids text[],
    p_due_max integer)
  RETURNS jsonb
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_now timestamptz;
  v_quotas jsonb;
  v_reservations jsonb;
  v_operation_ids uuid[];
  v_user_ids text[];
BEGIN
  PERFORM set_config('spendlock.tenant_id', p_tenant_id, true);
  -- Whom it concerns is looked up before the locks, since quotas are locked before reservations. A user never changes.
  v_operation_ids := ARRAY(
    SELECT unnest(p_operation_ids)
    UNION (SELECT operation_id FROM reservations
           WHERE tenant_id = p_tenant_id AND status = 'granted' AND expires_at <= clock_timestamp() LIMIT p_due_max)
    UNION (SELECT operation_id FROM reservations
           WHERE tenant_id = p_tenant_id AND outcome IS NOT NULL AND NOT outcome_folded LIMIT p_due_max));
  v_user_ids := ARRAY(
    SELECT unnest(p_user_ids)
    UNION SELECT user_id FROM reservations
    WHERE tenant_id = p_tenant_id AND operation_id = ANY (v_operation_ids) AND user_id IS NOT NULL);
  IF NOT lock_quotas(p_tenant_id, v_user_ids) THEN
    RETURN NULL;
  END IF;
  PERFORM set_config('spendlock.locked_tenant_id', p_tenant_id, true);
  -- The clock is read under the locks, so that moments follow the order of decisions.
  v_now := clock_timestamp();
  IF EXISTS (SELECT FROM cost_quotas WHERE tenant_id = p_tenant_id AND period_end <= v_now) THEN
    PERFORM reset_ended_periods(p_tenant_id, v_now);
  END IF;

  SELECT coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
      'quotaId', q.quota_id, 'scope', q.scope, 'scopeId', q.scope_id, 'resourceType', q.resource_type,
      'period', q.period, 'limitUsd', (q.limit_usd + q.topup_usd)::text, 'spentUsd', q.current_spend_usd::text,
      'reservedUsd', q.reserved_usd::text,
      'periodStartMs', extract(epoch FROM q.period_start) * 1000, 'periodEndMs', extract(epoch FROM q.period_end) * 1000,
      'thresholdsBasisPoints', CASE WHEN q.lease_of IS NOT NULL THEN '[]' ELSE (
         SELECT jsonb_agg((t * 10000)::integer) FROM unnest(q.warning_threshold || q.more_warning_thresholds) AS t) END,
      'warnedBasisPoints', a.warned, 'exceeded', a.exceeded,
      'lease', CASE WHEN q.lease_of IS NOT NULL THEN jsonb_build_object(
         'platformLimitUsd', (SELECT (p.limit_usd + p.topup_usd)::text FROM cost_quotas p WHERE p.quota_id = q.lease_of),
         'exhausted', coalesce(q.exhausted_until > v_now, false),
         'freesAtMs', floor(extract(epoch FROM q.platform_frees_at) * 1000)) END)) ORDER BY q.quota_id), '[]')
  INTO v_quotas
  FROM cost_quotas q
  CROSS JOIN LATERAL (
    SELECT coalesce(jsonb_agg((threshold * 10000)::integer) FILTER (WHERE kind = 'quota_warning'), '[]') AS warned,
           coalesce(bool_or(kind = 'quota_exceeded'), false) AS exceeded
    FROM quota_alerts WHERE quota_id = q.quota_id AND period_start = q.period_start
  ) AS a
  WHERE q.tenant_id = p_tenant_id AND (q.scope <> 'user' OR q.scope_id = ANY (v_user_ids));

  SELECT coalesce(jsonb_agg(reservation_as_json(locked)), '[]') INTO v_reservations
  FROM (
    SELECT r.* FROM reservations r
    WHERE r.tenant_id = p_tenant_id AND r.operation_id = ANY (v_operation_ids)
    ORDER BY r.operation_id
    FOR UPDATE
  ) AS locked;

  RETURN jsonb_build_object('nowMs', floor(extract(epoch FROM v_now) * 1000), 'quotas', v_quotas,
    'frozen', (SELECT frozen_reason FROM tenants WHERE tenant_id = p_tenant_id),
    'frozenUsers', (SELECT coalesce(jsonb_object_agg(user_id, frozen_reason), '{}') FROM frozen_users
                    WHERE tenant_id = p_tenant_id AND user_id = ANY (v_user_ids)),
    'reservations', v_reservations);
END
$$;

-- Platform quotas that are there already.
SELECT copilot_internal.add_leases(ARRAY(SELECT tenant_id FROM copilot_internal.tenants));
UPDATE copilot_internal.cost_quotas SET current_spend_usd = 0, reserved_usd = 0 WHERE tenant_id IS NULL;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA copilot_internal FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
  copilot_internal.add_leases(text[]),
  copilot_internal.draw_lease(text, jsonb),
  copilot_internal.return_leases(text),
  copilot_internal.list_platform_quotas(),
  copilot_internal.set_platform_quota(text, text, numeric, numeric, numeric[]),
  copilot_internal.look_after(integer)
  TO spendlock_app;
RESET ROLE;
