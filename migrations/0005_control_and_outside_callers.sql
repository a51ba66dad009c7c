-- Up Migration
-- What operators steer (defaults for users, top-ups, quotas that never reset, freezes, corrections, policies), and
-- reservations of callers outside Temporal.
SET LOCAL ROLE spendlock_owner;

-- Quotas: `lifetime` ones never reset; a top-up lifts the limit until the period ends; one warning per threshold.
ALTER TABLE copilot_internal.cost_quotas
  DROP CONSTRAINT cost_quotas_period_check,
  ADD CONSTRAINT cost_quotas_period_check CHECK (period IN ('day', 'week', 'month', 'lifetime')),
  ADD COLUMN topup_usd numeric(38, 12) NOT NULL DEFAULT 0 CHECK (topup_usd >= 0 AND topup_usd < 1000000000000),
  ADD COLUMN more_warning_thresholds numeric(5, 4)[] NOT NULL DEFAULT '{}'
    CHECK (0 < ALL (more_warning_thresholds) AND 1 >= ALL (more_warning_thresholds) AND cardinality(more_warning_thresholds) <= 10),
  -- Made from the tenant's default for its users, and changed with it.
  ADD COLUMN from_default boolean NOT NULL DEFAULT false;

CREATE OR REPLACE FUNCTION copilot_internal.period_bounds(period text, at timestamptz,
    OUT period_start timestamptz, OUT period_end timestamptz)
  LANGUAGE sql STABLE PARALLEL SAFE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT CASE period WHEN 'lifetime' THEN timestamptz '1970-01-01 00:00:00+00' ELSE date_trunc(period, at, 'UTC') END,
         CASE period WHEN 'lifetime' THEN timestamptz '9999-12-31 00:00:00+00'
                     ELSE (date_trunc(period, at AT TIME ZONE 'UTC') + ('1 ' || period)::interval) AT TIME ZONE 'UTC' END
$$;

CREATE OR REPLACE FUNCTION copilot_internal.reset_ended_periods(p_tenant_id text, p_now timestamptz) RETURNS void
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  UPDATE cost_quotas q
  SET current_spend_usd = 0, topup_usd = 0, period_start = b.period_start, period_end = b.period_end, updated_at = p_now
  FROM cost_quotas old, period_bounds(old.period, p_now) AS b
  WHERE old.quota_id = q.quota_id AND (q.tenant_id = p_tenant_id OR q.tenant_id IS NULL) AND q.period_end <= p_now
$$;

ALTER TABLE copilot_internal.quota_alerts
  DROP CONSTRAINT quota_alerts_quota_id_kind_period_start_key,
  ADD COLUMN threshold numeric(5, 4);
UPDATE copilot_internal.quota_alerts a SET threshold = q.warning_threshold
FROM copilot_internal.cost_quotas q WHERE q.quota_id = a.quota_id AND a.kind = 'quota_warning';
ALTER TABLE copilot_internal.quota_alerts
  ADD CONSTRAINT quota_alerts_once UNIQUE NULLS NOT DISTINCT (quota_id, kind, period_start, threshold);

-- What a user whom nobody has named before gets, by tenant.
CREATE TABLE copilot_internal.user_quota_defaults (
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  resource_type text NOT NULL CHECK (resource_type IN ('llm', 'e2b', 'all')),
  period text NOT NULL CHECK (period IN ('day', 'week', 'month', 'lifetime')),
  limit_usd numeric(38, 12) NOT NULL CHECK (limit_usd >= 0 AND limit_usd < 1000000000000),
  warning_threshold numeric(5, 4) NOT NULL DEFAULT 0.80 CHECK (warning_threshold > 0 AND warning_threshold <= 1),
  PRIMARY KEY (tenant_id, resource_type, period)
);

-- Who may not reserve for now. What is reserved goes on.
ALTER TABLE copilot_internal.tenants
  ADD COLUMN frozen_at timestamptz,
  ADD COLUMN frozen_reason text,
  -- What a step does when its authority does not answer in time.
  ADD COLUMN on_unavailable text NOT NULL DEFAULT 'wait' CHECK (on_unavailable IN ('wait', 'deny', 'allow')),
  ADD COLUMN answer_timeout_ms integer NOT NULL DEFAULT 5000 CHECK (answer_timeout_ms BETWEEN 100 AND 600000),
  ADD CHECK ((frozen_at IS NULL) = (frozen_reason IS NULL));
CREATE TABLE copilot_internal.frozen_users (
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  user_id text NOT NULL CHECK (length(user_id) BETWEEN 1 AND 128),
  frozen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  frozen_reason text NOT NULL,
  PRIMARY KEY (tenant_id, user_id)
);

-- The ledger: an operator's adjustment is an entry of its own, with reason and author, as often as needed.
ALTER TABLE copilot_internal.cost_records
  DROP CONSTRAINT cost_records_entry_check,
  DROP CONSTRAINT cost_records_check,
  DROP CONSTRAINT cost_records_tenant_id_operation_id_entry_key,
  ADD CONSTRAINT cost_records_entry_check CHECK (entry IN ('commit', 'correction', 'adjustment')),
  ADD CONSTRAINT cost_records_amount_check CHECK (entry <> 'commit' OR amount_usd >= 0),
  ADD COLUMN reason text,
  ADD COLUMN author text,
  ADD CONSTRAINT cost_records_author_check CHECK ((entry = 'adjustment') = (reason IS NOT NULL AND author IS NOT NULL));
CREATE UNIQUE INDEX cost_records_once ON copilot_internal.cost_records (tenant_id, operation_id, entry)
  WHERE entry <> 'adjustment';
ALTER TABLE copilot_internal.audit_entries ADD COLUMN author text;

ALTER TABLE copilot_internal.reservations
  ADD COLUMN on_expiry text CHECK (on_expiry IN ('release', 'settle')),
  -- Goes on without a grant, because the authority did not answer and the policy allows it.
  ADD COLUMN unreserved boolean NOT NULL DEFAULT false;
CREATE INDEX reservations_unverified ON copilot_internal.reservations (tenant_id, ended_at) WHERE settlement = 'unverified';

CREATE OR REPLACE FUNCTION copilot_internal.reservation_as_json(r copilot_internal.reservations) RETURNS jsonb
  LANGUAGE sql STABLE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT jsonb_build_object(
    'operationId', r.operation_id, 'userId', r.user_id, 'runId', r.run_id, 'kind', r.kind, 'step', r.step,
    'attempt', r.attempt, 'resource', r.resource, 'model', r.model, 'priceVersion', r.price_version,
    'onExpiry', r.on_expiry, 'unreserved', r.unreserved,
    'requestedUsd', r.requested_usd::text, 'minimumUsd', r.minimum_usd::text, 'grantedUsd', r.granted_usd::text,
    'status', r.status, 'refusal', r.refusal, 'claimed', r.claimed_at IS NOT NULL,
    'decidedAtMs', floor(extract(epoch FROM r.decided_at) * 1000),
    'expiresAtMs', floor(extract(epoch FROM r.expires_at) * 1000),
    'outcome', r.outcome, 'outcomeUsd', r.outcome_usd::text, 'outcomeFolded', r.outcome_folded,
    'settlement', r.settlement, 'committedUsd', r.committed_usd::text, 'overrunUsd', r.overrun_usd::text,
    'postedAtMs', floor(extract(epoch FROM r.posted_at) * 1000),
    'endedAtMs', floor(extract(epoch FROM r.ended_at) * 1000))
$$;

-- Takes the locks of a decision in their fixed order: platform, tenant, the tenant's quotas and those of the named users.
DROP FUNCTION copilot_internal.lock_quotas(text);
CREATE FUNCTION copilot_internal.lock_quotas(p_tenant_id text, p_user_ids text[]) RETURNS boolean
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_known boolean;
BEGIN
  PERFORM 1 FROM cost_quotas WHERE tenant_id IS NULL ORDER BY quota_id FOR UPDATE;
  PERFORM 1 FROM tenants WHERE tenant_id = p_tenant_id FOR UPDATE;
  v_known := FOUND;
  IF cardinality(p_user_ids) > 0 THEN
    PERFORM add_user_quotas(p_tenant_id, p_user_ids);
  END IF;
  PERFORM 1 FROM cost_quotas
  WHERE tenant_id = p_tenant_id AND (scope <> 'user' OR scope_id = ANY (p_user_ids))
  ORDER BY quota_id FOR UPDATE;
  RETURN v_known;
END
$$;

-- Gives users their tenant's defaults where they have no quota of that resource and period, before anything of theirs is
-- decided: the first calls of a user nobody has seen before are bound together.
CREATE FUNCTION copilot_internal.add_user_quotas(p_tenant_id text, p_user_ids text[]) RETURNS void
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
          WHERE r.tenant_id = d.tenant_id AND r.user_id = u.user_id AND d.resource_type IN ('all', r.resource)
            AND r.status = 'granted')
  FROM user_quota_defaults d
  CROSS JOIN unnest(p_user_ids) AS u (user_id)
  CROSS JOIN LATERAL period_bounds(d.period, clock_timestamp()) AS b
  WHERE d.tenant_id = p_tenant_id AND NOT EXISTS (
    SELECT FROM cost_quotas q WHERE q.tenant_id = d.tenant_id AND q.scope = 'user' AND q.scope_id = u.user_id
      AND q.resource_type = d.resource_type AND q.period = d.period)
  ON CONFLICT DO NOTHING
$$;

-- The guard of 0001, with top-ups.
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
     AND (q.tenant_id IS NULL
          OR (q.tenant_id = p_tenant_id AND (q.scope = 'tenant' OR (q.scope = 'user' AND q.scope_id = c."userId"))))
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

CREATE OR REPLACE FUNCTION copilot_internal.check_and_record_quota_atomic(p_tenant_id text, p_changes jsonb) RETURNS integer
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  PERFORM lock_quotas(p_tenant_id, ARRAY(
    SELECT DISTINCT change ->> 'userId' FROM jsonb_array_elements(p_changes) AS change WHERE change ? 'userId'));
  PERFORM reset_ended_periods(p_tenant_id, clock_timestamp());
  RETURN apply_quota_changes(p_tenant_id, p_changes);
END
$$;

-- Locks a tenant's budget (platform, tenant, quotas, reservations by id) and reads it: its quotas and those of the users
-- concerned, the named reservations, and those that are overdue or have an outcome to fold. Null without such a tenant.
DROP FUNCTION copilot_internal.load_budget_batch(text, uuid[], integer);
CREATE FUNCTION copilot_internal.load_budget_batch(p_tenant_id text, p_operation_ids uuid[], p_user_ids text[],
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
  IF EXISTS (SELECT FROM cost_quotas WHERE (tenant_id = p_tenant_id OR tenant_id IS NULL) AND period_end <= v_now) THEN
    PERFORM reset_ended_periods(p_tenant_id, v_now);
  END IF;

  SELECT coalesce(jsonb_agg(jsonb_build_object(
      'quotaId', q.quota_id, 'scope', q.scope, 'scopeId', q.scope_id, 'resourceType', q.resource_type,
      'period', q.period, 'limitUsd', (q.limit_usd + q.topup_usd)::text, 'spentUsd', q.current_spend_usd::text,
      'reservedUsd', q.reserved_usd::text,
      'periodStartMs', extract(epoch FROM q.period_start) * 1000, 'periodEndMs', extract(epoch FROM q.period_end) * 1000,
      'thresholdsBasisPoints', (SELECT jsonb_agg((t * 10000)::integer)
                                FROM unnest(q.warning_threshold || q.more_warning_thresholds) AS t),
      'warnedBasisPoints', a.warned, 'exceeded', a.exceeded) ORDER BY q.quota_id), '[]')
  INTO v_quotas
  FROM cost_quotas q
  CROSS JOIN LATERAL (
    SELECT coalesce(jsonb_agg((threshold * 10000)::integer) FILTER (WHERE kind = 'quota_warning'), '[]') AS warned,
           coalesce(bool_or(kind = 'quota_exceeded'), false) AS exceeded
    FROM quota_alerts WHERE quota_id = q.quota_id AND period_start = q.period_start
  ) AS a
  WHERE (q.tenant_id = p_tenant_id AND (q.scope <> 'user' OR q.scope_id = ANY (v_user_ids))) OR q.tenant_id IS NULL;

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

CREATE OR REPLACE FUNCTION copilot_internal.record_budget_batch(p_tenant_id text, p_batch jsonb) RETURNS jsonb
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  -- Named in an array too, so that each row is found by its key whatever the planner believes of the table's size.
  v_operation_ids uuid[] := ARRAY(
    SELECT (entry ->> 'operationId')::uuid FROM jsonb_array_elements(p_batch -> 'ledger') AS entry);
BEGIN
  -- load_budget_batch took the locks in this transaction.
  IF current_setting('spendlock.locked_tenant_id', true) IS DISTINCT FROM p_tenant_id THEN
    RAISE EXCEPTION 'record_budget_batch comes after load_budget_batch, in one transaction; nothing was recorded';
  END IF;
  PERFORM apply_quota_changes(p_tenant_id, p_batch -> 'changes');

  INSERT INTO reservations (tenant_id, operation_id, user_id, run_id, kind, step, attempt, resource, model, price_version,
    on_expiry, requested_usd, minimum_usd, granted_usd, status, refusal, decided_at, expires_at, outcome_folded, settlement,
    committed_usd, overrun_usd, posted_at, ended_at, trace_context)
  SELECT p_tenant_id, c."operationId", c."userId", c."runId", coalesce(c.kind, ''), c.step, c.attempt, c.resource, c.model,
    c."priceVersion", c."onExpiry", c."requestedUsd", c."minimumUsd", c."grantedUsd", c.status, c.refusal, c."decidedAt",
    c."expiresAt", c."outcomeFolded", c.settlement, c."committedUsd", c."overrunUsd", c."postedAt", c."endedAt",
    c."traceContext"
  FROM jsonb_to_recordset(p_batch -> 'reservations') AS c (
    "operationId" uuid, "userId" text, "runId" uuid, kind text, step integer, attempt integer, resource text, model text,
    "priceVersion" text, "onExpiry" text, "requestedUsd" numeric, "minimumUsd" numeric, "grantedUsd" numeric, status text,
    refusal jsonb, "decidedAt" timestamptz, "expiresAt" timestamptz, "outcomeFolded" boolean, settlement text,
    "committedUsd" numeric, "overrunUsd" numeric, "postedAt" timestamptz, "endedAt" timestamptz, "traceContext" jsonb)
  ON CONFLICT (tenant_id, operation_id) DO UPDATE SET
    status = excluded.status, expires_at = excluded.expires_at, outcome_folded = excluded.outcome_folded,
    settlement = excluded.settlement, committed_usd = excluded.committed_usd, overrun_usd = excluded.overrun_usd,
    posted_at = excluded.posted_at, ended_at = excluded.ended_at;

  INSERT INTO cost_records (tenant_id, operation_id, entry, user_id, run_id, kind, resource, model, price_version,
    amount_usd, estimated_usd, settlement, usage, posted_at)
  SELECT p_tenant_id, r.operation_id, c.entry, r.user_id, r.run_id, r.kind, r.resource, r.model, r.price_version,
    c."amountUsd", r.granted_usd, c.settlement, r.outcome_usage, c."postedAt"
  FROM jsonb_to_recordset(p_batch -> 'ledger') AS c (
    "operationId" uuid, entry text, "amountUsd" numeric, settlement text, "postedAt" timestamptz)
  JOIN reservations r
    ON r.tenant_id = p_tenant_id AND r.operation_id = ANY (v_operation_ids) AND r.operation_id = c."operationId";

  INSERT INTO quota_alerts (tenant_id, quota_id, kind, threshold, period_start, details)
  SELECT q.tenant_id, q.quota_id, c.kind, c."thresholdBasisPoints" / 10000.0, q.period_start, c.details
  FROM jsonb_to_recordset(p_batch -> 'alerts') AS c (
    "quotaId" uuid, kind text, "thresholdBasisPoints" numeric, details jsonb)
  JOIN cost_quotas q ON q.quota_id = c."quotaId"
  ON CONFLICT DO NOTHING;

  RETURN jsonb_build_object(
    'nextWakeUpMs', (SELECT floor(extract(epoch FROM min(expires_at)) * 1000) FROM reservations
                     WHERE tenant_id = p_tenant_id AND status = 'granted'),
    'alertsDue', (SELECT count(*) FROM quota_alerts
                  WHERE (tenant_id = p_tenant_id OR tenant_id IS NULL) AND sent_at IS NULL));
END
$$;

-- What callers outside Temporal say of their calls: for each operation the cost ("costUsd"), or that surely nothing was
-- billed (no cost). A claim that is not theirs keeps them out; a first outcome stands, except that a cost replaces "not
-- billed". Answers for each how the row stood before, and whether the outcome was written. The authority folds it.
CREATE FUNCTION copilot_internal.record_outcomes(p_tenant_id text, p_items jsonb) RETURNS jsonb
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_operation_ids uuid[] := ARRAY(
    SELECT (item ->> 'operationId')::uuid FROM jsonb_array_elements(p_items) AS item);
  v_answers jsonb;
BEGIN
  PERFORM set_config('spendlock.tenant_id', p_tenant_id, true);
  PERFORM 1 FROM reservations
  WHERE tenant_id = p_tenant_id AND operation_id = ANY (v_operation_ids)
  ORDER BY operation_id FOR UPDATE;
  WITH asked AS MATERIALIZED (
    SELECT i.*, r.status, r.outcome, r.outcome_usd,
           r.resource IS NOT NULL AND r.status IN ('granted', 'committed', 'released', 'expired')
             AND (r.claim_token IS NULL OR i."claimToken" IS NOT DISTINCT FROM r.claim_token OR i."anyClaim")
             AND (r.outcome IS NULL OR (r.outcome = 'not_billed' AND i."costUsd" IS NOT NULL))
             AND (i."costUsd" IS NOT NULL OR r.status = 'granted') AS writes,
           r.claim_token IS NOT NULL AND i."claimToken" IS DISTINCT FROM r.claim_token AND i."anyClaim" IS NOT TRUE AS claimed_elsewhere
    FROM jsonb_to_recordset(p_items) AS i (
           "operationId" uuid, "costUsd" numeric, "claimToken" uuid, "anyClaim" boolean, usage jsonb, result jsonb)
    LEFT JOIN reservations r
      ON r.tenant_id = p_tenant_id AND r.operation_id = ANY (v_operation_ids) AND r.operation_id = i."operationId"
  ), written AS (
    UPDATE reservations r
    SET claimed_at = coalesce(r.claimed_at, clock_timestamp()),
        outcome = CASE WHEN a."costUsd" IS NULL THEN 'not_billed' ELSE 'billed' END, outcome_usd = a."costUsd",
        outcome_usage = a.usage, outcome_result = a.result, outcome_at = clock_timestamp(), outcome_folded = false
    FROM asked a
    WHERE a.writes AND r.tenant_id = p_tenant_id AND r.operation_id = ANY (v_operation_ids)
      AND r.operation_id = a."operationId"
    RETURNING 1)
  SELECT coalesce(jsonb_agg(jsonb_build_object('operationId', a."operationId", 'status', a.status, 'outcome', a.outcome,
    'outcomeUsd', trim_scale(a.outcome_usd)::text, 'written', coalesce(a.writes, false),
    'claimedElsewhere', coalesce(a.claimed_elsewhere, false))), '[]')
  INTO v_answers FROM asked a;
  RETURN v_answers;
END
$$;

-- The claim of 0004. What goes on without a grant may spend what it asked for.
CREATE OR REPLACE FUNCTION copilot_internal.claim_reservation(p_tenant_id text, p_operation_id uuid, p_claim_token uuid)
  RETURNS numeric
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  UPDATE reservations
  SET claimed_at = coalesce(claimed_at, clock_timestamp()), claim_token = p_claim_token
  WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id AND status = 'granted'
    AND expires_at > clock_timestamp() AND (claim_token IS NULL OR claim_token = p_claim_token)
  RETURNING CASE WHEN unreserved THEN requested_usd ELSE granted_usd END
$$;

-- Lets an operation go on without a grant: a row that holds nothing, whose cost is recorded in full. What the authority
-- has decided meanwhile stands.
CREATE FUNCTION copilot_internal.allow_unreserved(p_tenant_id text, p_command jsonb) RETURNS void
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  INSERT INTO reservations (tenant_id, operation_id, user_id, run_id, kind, step, attempt, resource, model, price_version,
    on_expiry, requested_usd, minimum_usd, granted_usd, status, decided_at, expires_at, unreserved)
  SELECT p_tenant_id, c."operationId", c."userId", c."runId", c.kind, c.step, c.attempt, c.resource, c.model,
    c."priceVersion", c."onExpiry", c."amountUsd", c."minimumUsd", 0, 'granted', clock_timestamp(),
    clock_timestamp() + make_interval(secs => c."ttlSeconds"), true
  FROM jsonb_to_record(p_command) AS c (
    "operationId" uuid, "userId" text, "runId" uuid, kind text, step integer, attempt integer, resource text, model text,
    "priceVersion" text, "onExpiry" text, "amountUsd" numeric, "minimumUsd" numeric, "ttlSeconds" double precision)
  ON CONFLICT DO NOTHING
$$;

-- Holds a granted reservation for longer, counted from now. Never shortens it. Null when it is not granted.
CREATE FUNCTION copilot_internal.extend_reservation(p_tenant_id text, p_operation_id uuid, p_ttl_seconds numeric)
  RETURNS timestamptz
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  UPDATE reservations
  SET expires_at = greatest(expires_at, clock_timestamp() + make_interval(secs => p_ttl_seconds::double precision))
  WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id AND status = 'granted' AND expires_at > clock_timestamp()
  RETURNING expires_at
$$;

-- Corrects what an operation cost, by an entry of the difference in the period of the entry that it corrects. Settles an
-- unverified one when asked to. Answers the difference, or null when the operation has no cost on record.
CREATE FUNCTION copilot_internal.adjust_cost(p_tenant_id text, p_operation_id uuid, p_cost_usd numeric, p_reason text,
    p_author text)
  RETURNS numeric
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_row reservations;
  v_entry cost_records;
  v_difference numeric;
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
  SELECT p_cost_usd - sum(amount_usd) INTO v_difference FROM cost_records
  WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id;
  IF v_difference <> 0 THEN
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

-- Administration's list of tenants, each with its monthly quota for everything. It crosses tenants, so it runs as the owner.
CREATE FUNCTION copilot_internal.list_tenants()
  RETURNS TABLE (tenant_id text, name text, frozen_reason text, limit_usd numeric, spent_usd numeric, reserved_usd numeric,
                 created_at timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT t.tenant_id, t.name, t.frozen_reason, q.limit_usd + q.topup_usd,
         CASE WHEN q.period_end <= now() THEN 0 ELSE q.current_spend_usd END, q.reserved_usd, t.created_at
  FROM tenants t
  LEFT JOIN cost_quotas q ON q.tenant_id = t.tenant_id AND q.scope = 'tenant' AND q.resource_type = 'all' AND q.period = 'month'
  ORDER BY t.tenant_id
$$;

DO $security$
DECLARE
  v_table text;
BEGIN
  FOREACH v_table IN ARRAY ARRAY['user_quota_defaults', 'frozen_users'] LOOP
    EXECUTE format('ALTER TABLE copilot_internal.%I ENABLE ROW LEVEL SECURITY', v_table);
    EXECUTE format('ALTER TABLE copilot_internal.%I FORCE ROW LEVEL SECURITY', v_table);
    EXECUTE format('CREATE POLICY owner_sees_all ON copilot_internal.%I TO spendlock_owner USING (true)', v_table);
    EXECUTE format('CREATE POLICY one_tenant ON copilot_internal.%I TO spendlock_app
      USING (tenant_id = current_setting(''spendlock.tenant_id'', true))', v_table);
  END LOOP;
END
$security$;

GRANT SELECT, INSERT, UPDATE, DELETE ON copilot_internal.user_quota_defaults, copilot_internal.frozen_users TO spendlock_app;
GRANT UPDATE (frozen_at, frozen_reason, on_unavailable, answer_timeout_ms) ON copilot_internal.tenants TO spendlock_app;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA copilot_internal FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
  copilot_internal.lock_quotas(text, text[]),
  copilot_internal.add_user_quotas(text, text[]),
  copilot_internal.load_budget_batch(text, uuid[], text[], integer),
  copilot_internal.record_outcomes(text, jsonb),
  copilot_internal.allow_unreserved(text, jsonb),
  copilot_internal.extend_reservation(text, uuid, numeric),
  copilot_internal.adjust_cost(text, uuid, numeric, text, text),
  copilot_internal.list_tenants()
  TO spendlock_app;
RESET ROLE;
