-- Up Migration
-- The two halves of a decision's transaction: load_budget_batch locks and reads what a batch is decided from, and
-- record_budget_batch writes what was decided. Between them, in the same transaction, runs core's decideBatch.
SET LOCAL ROLE spendlock_owner;

-- One reservation as the decision reads it. Amounts are text: JSON numbers would lose digits.
CREATE FUNCTION copilot_internal.reservation_as_json(r copilot_internal.reservations) RETURNS jsonb
  LANGUAGE sql STABLE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT jsonb_build_object(
    'operationId', r.operation_id, 'userId', r.user_id, 'runId', r.run_id, 'kind', r.kind, 'step', r.step,
    'attempt', r.attempt, 'resource', r.resource, 'model', r.model, 'priceVersion', r.price_version,
    'requestedUsd', r.requested_usd::text, 'minimumUsd', r.minimum_usd::text, 'grantedUsd', r.granted_usd::text,
    'status', r.status, 'refusal', r.refusal, 'claimed', r.claimed_at IS NOT NULL,
    'decidedAtMs', floor(extract(epoch FROM r.decided_at) * 1000),
    'expiresAtMs', floor(extract(epoch FROM r.expires_at) * 1000),
    'outcome', r.outcome, 'outcomeUsd', r.outcome_usd::text, 'outcomeFolded', r.outcome_folded,
    'settlement', r.settlement, 'committedUsd', r.committed_usd::text, 'overrunUsd', r.overrun_usd::text,
    'postedAtMs', floor(extract(epoch FROM r.posted_at) * 1000),
    'endedAtMs', floor(extract(epoch FROM r.ended_at) * 1000))
$$;

-- Locks a tenant's budget (platform, tenant, quotas, reservations by id) and reads it: its quotas, the named
-- reservations, and those that are overdue or have an outcome to fold. Null when there is no such tenant.
CREATE FUNCTION copilot_internal.load_budget_batch(p_tenant_id text, p_operation_ids uuid[], p_due_max integer)
  RETURNS jsonb
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_now timestamptz;
  v_quotas jsonb;
  v_reservations jsonb;
BEGIN
  PERFORM set_config('spendlock.tenant_id', p_tenant_id, true);
  IF NOT lock_quotas(p_tenant_id) THEN
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
      'period', q.period, 'limitUsd', q.limit_usd::text, 'spentUsd', q.current_spend_usd::text,
      'reservedUsd', q.reserved_usd::text,
      'periodStartMs', extract(epoch FROM q.period_start) * 1000, 'periodEndMs', extract(epoch FROM q.period_end) * 1000,
      'warningThresholdBasisPoints', (q.warning_threshold * 10000)::integer,
      'warned', a.kinds @> ARRAY['quota_warning'], 'exceeded', a.kinds @> ARRAY['quota_exceeded']) ORDER BY q.quota_id), '[]')
  INTO v_quotas
  FROM cost_quotas q
  CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(kind), '{}') AS kinds FROM quota_alerts
    WHERE quota_id = q.quota_id AND period_start = q.period_start
  ) AS a
  WHERE q.tenant_id = p_tenant_id OR q.tenant_id IS NULL;

  SELECT coalesce(jsonb_agg(reservation_as_json(locked)), '[]') INTO v_reservations
  FROM (
    SELECT r.* FROM reservations r
    WHERE r.tenant_id = p_tenant_id AND r.operation_id IN (
      SELECT unnest(p_operation_ids)
      UNION (SELECT operation_id FROM reservations
             WHERE tenant_id = p_tenant_id AND status = 'granted' AND expires_at <= v_now LIMIT p_due_max)
      UNION (SELECT operation_id FROM reservations
             WHERE tenant_id = p_tenant_id AND outcome IS NOT NULL AND NOT outcome_folded LIMIT p_due_max))
    ORDER BY r.operation_id
    FOR UPDATE
  ) AS locked;

  RETURN jsonb_build_object('nowMs', floor(extract(epoch FROM v_now) * 1000), 'quotas', v_quotas,
                            'reservations', v_reservations);
END
$$;

-- Writes what was decided: balances (through the guard), reservations, ledger and alerts. Answers when the tenant's
-- next reservation runs out, and how many alerts wait to be sent.
CREATE FUNCTION copilot_internal.record_budget_batch(p_tenant_id text, p_batch jsonb) RETURNS jsonb
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  -- load_budget_batch took the locks in this transaction; without it, take them now.
  IF current_setting('spendlock.locked_tenant_id', true) IS DISTINCT FROM p_tenant_id THEN
    PERFORM lock_quotas(p_tenant_id);
    PERFORM reset_ended_periods(p_tenant_id, clock_timestamp());
  END IF;
  PERFORM apply_quota_changes(p_tenant_id, p_batch -> 'changes');

  INSERT INTO reservations (tenant_id, operation_id, user_id, run_id, kind, step, attempt, resource, model, price_version,
    requested_usd, minimum_usd, granted_usd, status, refusal, decided_at, expires_at, outcome_folded, settlement,
    committed_usd, overrun_usd, posted_at, ended_at, trace_context)
  SELECT p_tenant_id, c."operationId", c."userId", c."runId", coalesce(c.kind, ''), c.step, c.attempt, c.resource, c.model,
    c."priceVersion", c."requestedUsd", c."minimumUsd", c."grantedUsd", c.status, c.refusal, c."decidedAt", c."expiresAt",
    c."outcomeFolded", c.settlement, c."committedUsd", c."overrunUsd", c."postedAt", c."endedAt", c."traceContext"
  FROM jsonb_to_recordset(p_batch -> 'reservations') AS c (
    "operationId" uuid, "userId" text, "runId" uuid, kind text, step integer, attempt integer, resource text, model text,
    "priceVersion" text, "requestedUsd" numeric, "minimumUsd" numeric, "grantedUsd" numeric, status text, refusal jsonb,
    "decidedAt" timestamptz, "expiresAt" timestamptz, "outcomeFolded" boolean, settlement text, "committedUsd" numeric,
    "overrunUsd" numeric, "postedAt" timestamptz, "endedAt" timestamptz, "traceContext" jsonb)
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
  JOIN reservations r ON r.tenant_id = p_tenant_id AND r.operation_id = c."operationId";

  INSERT INTO quota_alerts (tenant_id, quota_id, kind, period_start, details)
  SELECT q.tenant_id, q.quota_id, c.kind, q.period_start, c.details
  FROM jsonb_to_recordset(p_batch -> 'alerts') AS c ("quotaId" uuid, kind text, details jsonb)
  JOIN cost_quotas q ON q.quota_id = c."quotaId"
  ON CONFLICT DO NOTHING;

  RETURN jsonb_build_object(
    'nextWakeUpMs', (SELECT floor(extract(epoch FROM min(expires_at)) * 1000) FROM reservations
                     WHERE tenant_id = p_tenant_id AND status = 'granted'),
    'alertsDue', (SELECT count(*) FROM quota_alerts
                  WHERE (tenant_id = p_tenant_id OR tenant_id IS NULL) AND sent_at IS NULL));
END
$$;

-- The claim: once, for a granted and unexpired reservation. A token that claimed it before may ask again. Answers what
-- was granted, or null when there is nothing to spend.
CREATE FUNCTION copilot_internal.claim_reservation(p_tenant_id text, p_operation_id uuid, p_claim_token uuid)
  RETURNS numeric
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  UPDATE reservations
  SET claimed_at = coalesce(claimed_at, clock_timestamp()), claim_token = p_claim_token
  WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id AND status = 'granted'
    AND expires_at > clock_timestamp() AND (claim_token IS NULL OR claim_token = p_claim_token)
  RETURNING granted_usd
$$;

-- The outcome: once, by whoever claimed. A repeat of the same token changes nothing. True when it is (or was) recorded.
CREATE FUNCTION copilot_internal.record_outcome(p_tenant_id text, p_operation_id uuid, p_claim_token uuid, p_outcome text,
    p_cost_usd numeric, p_usage jsonb, p_result jsonb)
  RETURNS boolean
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  WITH written AS (
    UPDATE reservations
    SET outcome = p_outcome, outcome_usd = p_cost_usd, outcome_usage = p_usage, outcome_result = p_result,
        outcome_at = clock_timestamp()
    WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id AND claim_token = p_claim_token AND outcome IS NULL
    RETURNING 1)
  SELECT EXISTS (SELECT FROM written) OR EXISTS (
    SELECT FROM reservations
    WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id AND claim_token = p_claim_token AND outcome IS NOT NULL)
$$;

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA copilot_internal FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
  copilot_internal.reservation_as_json(copilot_internal.reservations),
  copilot_internal.load_budget_batch(text, uuid[], integer),
  copilot_internal.record_budget_batch(text, jsonb),
  copilot_internal.claim_reservation(text, uuid, uuid),
  copilot_internal.record_outcome(text, uuid, uuid, text, numeric, jsonb, jsonb)
  TO spendlock_app;
RESET ROLE;
