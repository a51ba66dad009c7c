-- Up Migration
-- A decision reads what is due by the indexes made for that. On a table that was new, and so looked empty to the planner, it took
-- the primary key instead and kept that plan: each decision then read the tenant's whole past.
SET LOCAL ROLE spendlock_owner;

-- The oldest first, also where there are more than one decision takes.
DROP INDEX copilot_internal.reservations_unfolded;
CREATE INDEX reservations_unfolded ON copilot_internal.reservations (tenant_id, outcome_at)
  WHERE outcome IS NOT NULL AND NOT outcome_folded;

-- The text of a reservation for whoever reads it. A function with settings of its own, such as a search path, is called for each
-- row; this one has none, so that the planner puts it in place. It names nothing that a search path could change.
DROP FUNCTION copilot_internal.reservation_as_json(copilot_internal.reservations);
CREATE FUNCTION copilot_internal.reservation_as_json(r copilot_internal.reservations) RETURNS json
  LANGUAGE sql STABLE
AS $$
  SELECT pg_catalog.json_build_object(
    'operationId', r.operation_id, 'userId', r.user_id, 'runId', r.run_id, 'kind', r.kind, 'step', r.step,
    'attempt', r.attempt, 'resource', r.resource, 'model', r.model, 'priceVersion', r.price_version,
    'onExpiry', r.on_expiry, 'unreserved', r.unreserved,
    'requestedUsd', r.requested_usd::text, 'minimumUsd', r.minimum_usd::text, 'grantedUsd', r.granted_usd::text,
    'status', r.status, 'refusal', r.refusal, 'claimed', r.claimed_at IS NOT NULL,
    'decidedAtMs', pg_catalog.floor(extract(epoch FROM r.decided_at) * 1000),
    'expiresAtMs', pg_catalog.floor(extract(epoch FROM r.expires_at) * 1000),
    'outcome', r.outcome, 'outcomeUsd', r.outcome_usd::text, 'outcomeFolded', r.outcome_folded,
    'settlement', r.settlement, 'committedUsd', r.committed_usd::text, 'overrunUsd', r.overrun_usd::text,
    'postedAtMs', pg_catalog.floor(extract(epoch FROM r.posted_at) * 1000),
    'endedAtMs', pg_catalog.floor(extract(epoch FROM r.ended_at) * 1000))
$$;

-- The reading of 0006. It is text to whoever reads it, so it is json.
DROP FUNCTION copilot_internal.load_budget_batch(text, uuid[], text[], integer);
CREATE FUNCTION copilot_internal.load_budget_batch(p_tenant_id text, p_operation_ids uuid[], p_user_ids text[],
    p_due_max integer)
  RETURNS json
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_now timestamptz;
  v_quotas json;
  v_reservations json;
  v_operation_ids uuid[];
  v_user_ids text[];
BEGIN
  PERFORM set_config('spendlock.tenant_id', p_tenant_id, true);
  -- Whom it concerns is looked up before the locks, since quotas are locked before reservations. A user never changes.
  v_operation_ids := ARRAY(
    SELECT unnest(p_operation_ids)
    UNION (SELECT operation_id FROM reservations
           WHERE tenant_id = p_tenant_id AND status = 'granted' AND expires_at <= clock_timestamp()
           ORDER BY expires_at LIMIT p_due_max)
    UNION (SELECT operation_id FROM reservations
           WHERE tenant_id = p_tenant_id AND outcome IS NOT NULL AND NOT outcome_folded
           ORDER BY outcome_at LIMIT p_due_max));
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

  SELECT coalesce(json_agg(json_strip_nulls(json_build_object(
      'quotaId', q.quota_id, 'scope', q.scope, 'scopeId', q.scope_id, 'resourceType', q.resource_type,
      'period', q.period, 'limitUsd', (q.limit_usd + q.topup_usd)::text, 'spentUsd', q.current_spend_usd::text,
      'reservedUsd', q.reserved_usd::text,
      'periodStartMs', extract(epoch FROM q.period_start) * 1000, 'periodEndMs', extract(epoch FROM q.period_end) * 1000,
      'thresholdsBasisPoints', CASE WHEN q.lease_of IS NOT NULL THEN '[]' ELSE (
         SELECT json_agg((t * 10000)::integer) FROM unnest(q.warning_threshold || q.more_warning_thresholds) AS t) END,
      'warnedBasisPoints', a.warned, 'exceeded', a.exceeded,
      'lease', CASE WHEN q.lease_of IS NOT NULL THEN json_build_object(
         'platformLimitUsd', (SELECT (p.limit_usd + p.topup_usd)::text FROM cost_quotas p WHERE p.quota_id = q.lease_of),
         'exhausted', coalesce(q.exhausted_until > v_now, false),
         'freesAtMs', floor(extract(epoch FROM q.platform_frees_at) * 1000)) END)) ORDER BY q.quota_id), '[]')
  INTO v_quotas
  FROM cost_quotas q
  CROSS JOIN LATERAL (
    SELECT coalesce(json_agg((threshold * 10000)::integer) FILTER (WHERE kind = 'quota_warning'), '[]') AS warned,
           coalesce(bool_or(kind = 'quota_exceeded'), false) AS exceeded
    FROM quota_alerts WHERE quota_id = q.quota_id AND period_start = q.period_start
  ) AS a
  WHERE q.tenant_id = p_tenant_id AND (q.scope <> 'user' OR q.scope_id = ANY (v_user_ids));

  SELECT coalesce(json_agg(reservation_as_json(r)), '[]') INTO v_reservations
  FROM (
    SELECT * FROM reservations
    WHERE tenant_id = p_tenant_id AND operation_id = ANY (v_operation_ids)
    ORDER BY operation_id
    FOR UPDATE
  ) AS r;

  RETURN json_build_object('nowMs', floor(extract(epoch FROM v_now) * 1000), 'quotas', v_quotas,
    'frozen', (SELECT frozen_reason FROM tenants WHERE tenant_id = p_tenant_id),
    'frozenUsers', (SELECT coalesce(json_object_agg(user_id, frozen_reason), '{}') FROM frozen_users
                    WHERE tenant_id = p_tenant_id AND user_id = ANY (v_user_ids)),
    'reservations', v_reservations);
END
$$;

REVOKE EXECUTE ON FUNCTION
  copilot_internal.reservation_as_json(copilot_internal.reservations),
  copilot_internal.load_budget_batch(text, uuid[], text[], integer)
  FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
  copilot_internal.reservation_as_json(copilot_internal.reservations),
  copilot_internal.load_budget_batch(text, uuid[], text[], integer)
  TO spendlock_app;
RESET ROLE;
