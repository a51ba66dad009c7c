-- The first half of a decision's transaction: locks a tenant's budget (tenant, quotas, run limits, reservations by id) and reads what a
-- batch is decided from: its quotas and those of the named users, the named reservations, those that are overdue or have an
-- outcome to fold, the oldest first, the envelopes that those are parts of, and what is kept for those that wait for money, in their order. Null when there is no such tenant. A process that decides under a mandate says so
-- (spendlock.mandate_rules): without one it is told so, and nothing is read. Which run limits its commands name it says too (spendlock.run_limits),
-- and which labels they have (spendlock.labels); who does not know limits of labels (spendlock.label_quotas), or those that are only watched
-- (spendlock.shadow_quotas), is told of none. Between it and record_budget_batch, in the same
-- transaction, runs core's decideBatch. It is text to whoever reads it, so it is json.
CREATE OR REPLACE FUNCTION copilot_internal.load_budget_batch(p_tenant_id text, p_operation_ids uuid[], p_user_ids text[],
    p_due_max integer)
  RETURNS json
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
  SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  v_now timestamptz;
  v_quota_ids uuid[];
  v_quotas json;
  v_reservations json;
  v_operation_ids uuid[];
  v_user_ids text[];
  v_run_ids uuid[];
  v_tree_ids uuid[];
  v_tree_max integer := greatest(p_due_max, 200);
  v_asked_limits jsonb := nullif(current_setting('spendlock.run_limits', true), '');
  v_run_limits json;
  v_labels jsonb[] := ARRAY(SELECT jsonb_array_elements(nullif(current_setting('spendlock.labels', true), '')::jsonb));
  v_label_scopes jsonb := '[]';
  v_label_scope_ids text[] := '{}';
  v_parent_ids uuid[];
  v_held_on jsonb;
  v_rules text := nullif(current_setting('spendlock.mandate_rules', true), '');
BEGIN
  PERFORM set_config('spendlock.tenant_id', p_tenant_id, true);
  -- Before the locks, so that nobody waits for them in vain; what counts is the look under them.
  IF v_rules IS NOT NULL AND NOT is_mandated(p_tenant_id, v_rules) THEN
    RETURN json_build_object('mandate', 'closed');
  END IF;
  -- The tenant's lock comes first: what is looked up before it may be of before another's decision.
  IF NOT lock_tenant(p_tenant_id) THEN
    RETURN NULL;
  END IF;
  IF v_rules IS NOT NULL AND NOT is_mandated(p_tenant_id, v_rules) THEN
    RETURN json_build_object('mandate', 'closed');
  END IF;
  -- Whom it concerns is looked up before the other locks, since quotas are locked before reservations. A user never changes, nor a run.
  -- What is due of the runs whose limits are asked for is settled too, since what they are refused they are refused for good.
  IF v_asked_limits IS NOT NULL AND p_due_max > 0 THEN
    v_tree_ids := ARRAY(
      SELECT DISTINCT unnest(l.run_id || l.ancestor_ids) FROM run_limits l
      WHERE l.tenant_id = p_tenant_id AND l.run_id = ANY (ARRAY(
        SELECT unnest(ARRAY[a.id, a."parentId"]) FROM jsonb_to_recordset(v_asked_limits) AS a (id uuid, "parentId" uuid))));
  END IF;
  v_operation_ids := ARRAY(
    SELECT unnest(p_operation_ids)
    UNION (SELECT operation_id FROM reservations
           WHERE tenant_id = p_tenant_id AND status = 'granted' AND expires_at <= clock_timestamp()
           ORDER BY expires_at LIMIT p_due_max)
    UNION (SELECT operation_id FROM reservations
           WHERE tenant_id = p_tenant_id AND outcome IS NOT NULL AND NOT outcome_folded
           ORDER BY outcome_at LIMIT p_due_max)
    UNION (SELECT operation_id FROM reservations
           WHERE v_tree_ids IS NOT NULL AND tenant_id = p_tenant_id AND status = 'granted' AND expires_at <= clock_timestamp()
             AND limit_ids && v_tree_ids
           ORDER BY expires_at LIMIT v_tree_max)
    UNION (SELECT operation_id FROM reservations
           WHERE v_tree_ids IS NOT NULL AND tenant_id = p_tenant_id AND outcome IS NOT NULL AND NOT outcome_folded
             AND limit_ids && v_tree_ids
           ORDER BY outcome_at LIMIT v_tree_max));
  WITH known AS MATERIALIZED (
    SELECT operation_id, user_id, limit_ids, labels, parent_id, held_on FROM reservations WHERE tenant_id = p_tenant_id AND operation_id = ANY (v_operation_ids)
  )
  SELECT ARRAY(SELECT unnest(p_user_ids) UNION SELECT user_id FROM known WHERE user_id IS NOT NULL),
         ARRAY(SELECT DISTINCT unnest(limit_ids) FROM known),
         v_labels || ARRAY(SELECT DISTINCT labels FROM known WHERE jsonb_typeof(labels) = 'object' AND labels <> '{}'),
         ARRAY(SELECT DISTINCT parent_id FROM known WHERE parent_id IS NOT NULL),
         (SELECT jsonb_object_agg(operation_id, held_on) FROM known WHERE held_on IS NOT NULL)
  INTO v_user_ids, v_run_ids, v_labels, v_parent_ids, v_held_on;
  -- What parts give back goes to their envelopes, which have the same payer.
  IF cardinality(v_parent_ids) > 0 THEN
    v_operation_ids := ARRAY(SELECT unnest(v_operation_ids) UNION SELECT unnest(v_parent_ids));
    v_held_on := coalesce(v_held_on, '{}') || coalesce((
      SELECT jsonb_object_agg(operation_id, held_on) FROM reservations
      WHERE tenant_id = p_tenant_id AND operation_id = ANY (v_parent_ids) AND held_on IS NOT NULL), '{}');
  END IF;
  -- What is held on the limits of several resources is moved on all of them, also by a process of the version before.
  IF v_held_on IS NOT NULL THEN
    PERFORM set_config('spendlock.held_on', v_held_on::text, true);
  END IF;
  v_quota_ids := lock_payers(p_tenant_id, v_user_ids);
  IF v_asked_limits IS NOT NULL OR cardinality(v_run_ids) > 0 THEN
    v_run_limits := lock_run_limits(p_tenant_id, coalesce(v_asked_limits, '[]'), v_run_ids);
  END IF;
  -- The tenant's lock is enough for these rows: all that changes them holds it.
  IF current_setting('spendlock.label_quotas', true) = 'on' AND cardinality(v_labels) > 0 AND has_label_quotas(p_tenant_id) THEN
    PERFORM add_label_quotas(p_tenant_id, v_labels);
    SELECT jsonb_agg(to_jsonb(s)), array_agg(DISTINCT s.scope_id) INTO v_label_scopes, v_label_scope_ids
    FROM label_scopes(p_tenant_id, v_labels) AS s;
    v_quota_ids := v_quota_ids || ARRAY(SELECT quota_id FROM quotas_of(p_tenant_id, '{}', v_label_scope_ids) WHERE scope IN ('label', 'shadow_label'));
  END IF;
  PERFORM set_config('spendlock.locked_tenant_id', p_tenant_id, true);
  -- The clock is read under the locks, so that moments follow the order of decisions.
  v_now := clock_timestamp();
  IF EXISTS (SELECT FROM unnest(v_quota_ids) AS covering (quota_id)
    CROSS JOIN LATERAL (SELECT FROM cost_quotas q WHERE q.quota_id = covering.quota_id
      AND (q.period_end <= v_now OR q.topup_expires_at <= v_now) OFFSET 0) AS ended) THEN
    PERFORM reset_quotas(v_quota_ids, v_now);
  END IF;

  SELECT coalesce(json_agg(json_strip_nulls(json_build_object(
      'quotaId', q.quota_id, 'scope', replace(q.scope, 'shadow_', ''), 'isShadow', nullif(q.scope LIKE 'shadow%', false), 'scopeId', q.scope_id, 'resourceType', q.resource_type,
      'period', q.period, 'limitUsd', (q.limit_usd + q.topup_usd)::text, 'spentUsd', q.current_spend_usd::text,
      'reservedUsd', q.reserved_usd::text,
      'topUps', CASE WHEN q.topup_usd > 0 THEN json_build_object(
         'topupUsd', q.topup_usd::text, 'keptUsd', q.topup_kept_usd::text, 'expiring', q.expiring_topups) END,
      'periodStartMs', extract(epoch FROM q.period_start) * 1000, 'periodEndMs', extract(epoch FROM q.period_end) * 1000,
      'thresholdsBasisPoints', CASE WHEN q.lease_of IS NOT NULL THEN '[]' ELSE (
         SELECT json_agg((t * 10000)::integer) FROM unnest(q.warning_threshold || q.more_warning_thresholds) AS t) END,
      'warnedBasisPoints', a.warned, 'exceeded', a.exceeded,
      -- Of `other`, what counts for it here.
      'beyondValues', CASE WHEN q.scope IN ('label', 'shadow_label') AND q.scope_id LIKE '%:other' THEN (
         SELECT json_agg(s.value) FROM jsonb_to_recordset(v_label_scopes) AS s (value text, scope_id text) WHERE s.scope_id = q.scope_id) END,
      'lease', CASE WHEN q.lease_of IS NOT NULL THEN json_build_object(
         'platformLimitUsd', (SELECT (p.limit_usd + p.topup_usd)::text FROM cost_quotas p WHERE p.quota_id = q.lease_of),
         'exhausted', coalesce(q.exhausted_until > v_now, false),
         'freesAtMs', floor(extract(epoch FROM q.platform_frees_at) * 1000)) END)) ORDER BY q.quota_id), '[]')
  INTO v_quotas
  FROM unnest(v_quota_ids) AS covering (quota_id)
  CROSS JOIN LATERAL (SELECT * FROM cost_quotas WHERE quota_id = covering.quota_id OFFSET 0) AS q
  CROSS JOIN LATERAL (
    SELECT coalesce(json_agg((threshold * 10000)::integer) FILTER (WHERE kind = 'quota_warning'), '[]') AS warned,
           coalesce(bool_or(kind = 'quota_exceeded'), false) AS exceeded
    FROM quota_alerts WHERE quota_id = q.quota_id AND period_start = q.period_start
  ) AS a;

  -- Outcomes are folded in the order in which they were told, and so stand in the ledger.
  SELECT coalesce(json_agg(reservation_as_json(r) ORDER BY r.outcome_at, r.operation_id), '[]') INTO v_reservations
  FROM (
    SELECT * FROM reservations
    WHERE tenant_id = p_tenant_id AND operation_id = ANY (v_operation_ids)
    ORDER BY operation_id
    FOR UPDATE
  ) AS r;

  -- Who decides under a mandate takes it from here that one was looked for: a database of the version before does not know of any.
  RETURN json_build_object('nowMs', floor(extract(epoch FROM v_now) * 1000), 'isMandated', v_rules IS NOT NULL,
    -- A database of the version before can hold two.
    'holdsAnyResource', true, 'holdsEnvelopes', true, 'quotas', v_quotas,
    'frozen', (SELECT frozen_reason FROM tenants WHERE tenant_id = p_tenant_id),
    'frozenUsers', (SELECT coalesce(json_object_agg(user_id, frozen_reason), '{}') FROM frozen_users
                    WHERE tenant_id = p_tenant_id AND user_id = ANY (v_user_ids)),
    'line', (SELECT coalesce(json_agg(json_build_object('waiterId', waiter_id, 'runId', run_id, 'userId', user_id, 'resource', resource,
               'keptUsd', kept_usd::text, 'keptForMs', extract(epoch FROM kept_until - v_now) * 1000,
               'isWoken', woken_at IS NOT NULL,
               -- A step of the version before says no labels of its own, but asked with them.
               'labels', CASE WHEN cardinality(v_label_scope_ids) > 0 THEN counted_labels(p_tenant_id, coalesce(w.labels,
                 (SELECT r.labels FROM reservations r WHERE r.tenant_id = p_tenant_id AND r.operation_id = w.waiter_id))) END) ORDER BY waiting_since, waiter_id), '[]')
             FROM money_waiters w WHERE tenant_id = p_tenant_id AND kept_until > v_now AND kept_usd > 0),
    'runLimits', v_run_limits, 'reservations', v_reservations);
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.load_budget_batch(text, uuid[], text[], integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.load_budget_batch(text, uuid[], text[], integer) TO spendlock_app;
