-- Mends a tenant's books under its lock, and answers what it changed; the caller rolls it back to show what would be. The rows are what is
-- believed: the ledger of what was spent, the reservations of what is held. Which reservations and days do not agree was looked up
-- before, in pieces, so that the lock is short; they are looked at again here.
CREATE OR REPLACE FUNCTION copilot_internal.repair_books(p_tenant_id text, p_operation_ids uuid[], p_days date[], p_api_key_id uuid, p_author text,
    p_reason text) RETURNS jsonb
  LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_changes jsonb;
BEGIN
  IF NOT lock_quotas(p_tenant_id, ARRAY(
    SELECT DISTINCT scope_id FROM cost_quotas WHERE tenant_id = p_tenant_id AND scope = 'user')) THEN
    RETURN NULL;
  END IF;

  -- A row whose commit is in the ledger has ended by it, whatever the row says; a correction in the ledger was folded.
  WITH ledger AS (
    SELECT r.operation_id, sum(c.amount_usd) AS cost_usd, min(c.posted_at) AS posted_at, min(c.recorded_at) AS recorded_at,
           count(*) FILTER (WHERE c.entry = 'commit') AS commits, count(*) FILTER (WHERE c.entry = 'correction') AS corrections,
           (array_agg(c.settlement ORDER BY c.cost_record_id DESC))[1] AS settlement
    FROM reservations r CROSS JOIN LATERAL costs_of(r.tenant_id, r.operation_id) AS c
    WHERE r.tenant_id = p_tenant_id AND r.operation_id = ANY (p_operation_ids)
    GROUP BY r.operation_id HAVING sum(c.amount_usd) >= 0
  ), mended AS (
    UPDATE reservations r SET
      status = CASE WHEN l.commits = 1 THEN 'committed' ELSE r.status END,
      settlement = CASE WHEN l.commits = 1 THEN l.settlement ELSE r.settlement END,
      committed_usd = CASE WHEN l.commits = 1 THEN l.cost_usd END,
      overrun_usd = CASE WHEN l.commits = 1 THEN nullif(greatest(l.cost_usd - r.granted_usd, 0), 0) END,
      posted_at = coalesce(r.posted_at, l.posted_at), ended_at = coalesce(r.ended_at, l.recorded_at),
      outcome_folded = r.outcome_folded OR (r.outcome IS NOT NULL AND (l.corrections > 0 OR l.settlement = 'actual'))
    FROM ledger l, reservations o
    WHERE r.tenant_id = p_tenant_id AND r.operation_id = l.operation_id
      AND o.tenant_id = r.tenant_id AND o.operation_id = r.operation_id
      AND ((l.commits = 1 AND r.granted_usd IS NOT NULL
            AND (r.status <> 'committed' OR r.committed_usd <> l.cost_usd))
        OR (l.corrections > 0 AND NOT r.outcome_folded AND r.outcome IS NOT NULL AND r.status IN ('committed', 'released', 'expired')))
    RETURNING r.operation_id, o.status AS was, o.committed_usd AS was_usd, r.status, r.committed_usd
  )
  SELECT coalesce(jsonb_agg(jsonb_build_object('what', 'reservation', 'name', operation_id,
    'from', concat_ws(' at ', was, trim_scale(was_usd)::text), 'to', concat_ws(' at ', status, trim_scale(committed_usd)::text))), '[]')
  INTO v_changes FROM mended;

  WITH sums AS (
    SELECT q.quota_id, q.current_spend_usd AS spent_usd, q.reserved_usd,
           (SELECT coalesce(sum(c.amount_usd), 0) FROM cost_records c
            WHERE c.tenant_id = q.tenant_id AND q.resource_type IN ('all', c.resource) AND (q.scope NOT IN ('user', 'shadow_user') OR c.user_id = q.scope_id)
              AND c.posted_at >= q.period_start AND c.posted_at < q.period_end) AS ledger_usd,
           (SELECT coalesce(sum(r.granted_usd), 0) FROM reservations r
            WHERE r.tenant_id = q.tenant_id AND r.status = 'granted' AND (q.resource_type IN ('all', r.resource) OR q.resource_type = ANY (r.held_on))
              AND (q.scope NOT IN ('user', 'shadow_user') OR r.user_id = q.scope_id)) AS open_usd
    FROM cost_quotas q WHERE q.tenant_id = p_tenant_id AND q.scope NOT IN ('label', 'shadow_label')
    UNION ALL
    SELECT w.quota_id, w.spent_usd, w.reserved_usd, w.ledger_usd, w.open_usd FROM label_quotas_wrong(p_tenant_id) AS w
  ), mended AS (
    UPDATE cost_quotas q SET current_spend_usd = s.ledger_usd, reserved_usd = s.open_usd, updated_at = clock_timestamp()
    FROM sums s WHERE q.quota_id = s.quota_id AND (s.spent_usd, s.reserved_usd) <> (s.ledger_usd, s.open_usd)
    RETURNING concat_ws(' ', q.scope, CASE WHEN q.scope NOT IN ('tenant', 'shadow_tenant') THEN q.scope_id END, q.resource_type, q.period) AS name, s.*
  )
  SELECT v_changes || coalesce(jsonb_agg(jsonb_build_object('what', 'balance', 'name', name,
    'from', format('spent %s, reserved %s', trim_scale(spent_usd), trim_scale(reserved_usd)),
    'to', format('spent %s, reserved %s', trim_scale(ledger_usd), trim_scale(open_usd))) ORDER BY name), '[]')
  INTO v_changes FROM mended;

  WITH sums AS (
    SELECT l.run_id, l.spent_usd, l.reserved_usd, coalesce(sum(c.cost_usd), 0) AS ledger_usd,
           coalesce(sum(r.granted_usd) FILTER (WHERE r.status = 'granted'), 0) AS open_usd
    FROM run_limits l
    LEFT JOIN (reservations r CROSS JOIN LATERAL unnest(r.limit_ids) AS counts_for (run_id))
      ON r.tenant_id = p_tenant_id AND r.tenant_id = l.tenant_id AND counts_for.run_id = l.run_id AND r.decided_at >= l.created_at
    LEFT JOIN LATERAL (SELECT sum(amount_usd) AS cost_usd FROM costs_of(r.tenant_id, r.operation_id)) AS c
      ON true
    WHERE l.tenant_id = p_tenant_id
    GROUP BY l.tenant_id, l.run_id
  ), mended AS (
    UPDATE run_limits l SET spent_usd = s.ledger_usd, reserved_usd = s.open_usd
    FROM sums s WHERE l.tenant_id = p_tenant_id AND l.run_id = s.run_id AND (s.spent_usd, s.reserved_usd) <> (s.ledger_usd, s.open_usd)
    RETURNING s.*
  )
  SELECT v_changes || coalesce(jsonb_agg(jsonb_build_object('what', 'balance', 'name', 'run ' || run_id,
    'from', format('spent %s, reserved %s', trim_scale(spent_usd), trim_scale(reserved_usd)),
    'to', format('spent %s, reserved %s', trim_scale(ledger_usd), trim_scale(open_usd))) ORDER BY run_id), '[]')
  INTO v_changes FROM mended;

  WITH ledger AS (
    SELECT (posted_at AT TIME ZONE 'UTC')::date AS day, resource, kind, coalesce(model, '') AS model, coalesce(user_id, '') AS user_id,
           sum(amount_usd) AS cost_usd, sum(unverified_usd) AS unverified_usd,
           count(*) FILTER (WHERE entry = 'commit') AS operations, sum(cache_saved(usage)) AS cache_saved_usd
    FROM cost_records, unnest(p_days) AS d (of)
    WHERE tenant_id = p_tenant_id AND posted_at >= d.of::timestamp AT TIME ZONE 'UTC' AND posted_at < (d.of + 1)::timestamp AT TIME ZONE 'UTC'
    GROUP BY 1, 2, 3, 4, 5
  ), summed AS (
    SELECT * FROM daily_costs WHERE tenant_id = p_tenant_id AND day = ANY (p_days)
  ), differences AS (
    SELECT day, resource, kind, model, user_id, s.cost_usd AS was_usd, coalesce(l.cost_usd, 0) AS cost_usd,
           coalesce(l.operations, 0) AS operations, coalesce(l.unverified_usd, 0) AS unverified_usd,
           coalesce(l.cache_saved_usd, 0) AS cache_saved_usd
    FROM ledger l FULL JOIN summed s USING (day, resource, kind, model, user_id)
    WHERE (coalesce(s.cost_usd, 0), coalesce(s.operations, 0), coalesce(s.unverified_usd, 0), coalesce(s.cache_saved_usd, 0))
       <> (coalesce(l.cost_usd, 0), coalesce(l.operations, 0), coalesce(l.unverified_usd, 0), coalesce(l.cache_saved_usd, 0))
  ), mended AS (
    INSERT INTO daily_costs AS d (tenant_id, day, resource, kind, model, user_id, cost_usd, unverified_usd, operations, cache_saved_usd)
    SELECT p_tenant_id, day, resource, kind, model, user_id, cost_usd, unverified_usd, operations, cache_saved_usd FROM differences
    ON CONFLICT (tenant_id, day, resource, kind, model, user_id) DO UPDATE
    SET cost_usd = excluded.cost_usd, unverified_usd = excluded.unverified_usd, operations = excluded.operations,
        cache_saved_usd = excluded.cache_saved_usd
  )
  SELECT v_changes || coalesce(jsonb_agg(jsonb_build_object('what', 'day', 'name', concat_ws(' ', day, kind, nullif(model, ''), nullif(user_id, '')),
    'from', coalesce(trim_scale(was_usd)::text, 'none'), 'to', trim_scale(cost_usd)::text) ORDER BY day, kind, model, user_id), '[]')
  INTO v_changes FROM differences;

  WITH differences AS (
    SELECT * FROM label_sums_wrong(p_tenant_id, p_days)
  ), mended AS (
    INSERT INTO daily_label_costs AS d (tenant_id, day, labels_id, labels, resource, kind, model, cost_usd, unverified_usd, operations,
      cache_saved_usd)
    SELECT p_tenant_id, day, labels_id(labels), labels, resource, kind, model, cost_usd, unverified_usd, operations, cache_saved_usd FROM differences
    ON CONFLICT (tenant_id, day, labels_id, resource, kind, model) DO UPDATE
    SET cost_usd = excluded.cost_usd, unverified_usd = excluded.unverified_usd, operations = excluded.operations,
        cache_saved_usd = excluded.cache_saved_usd
  )
  SELECT v_changes || coalesce(jsonb_agg(jsonb_build_object('what', 'day', 'name', concat_ws(' ', day, labels, kind, nullif(model, '')),
    'from', coalesce(trim_scale(was_usd)::text, 'none'), 'to', trim_scale(cost_usd)::text) ORDER BY day, labels, kind, model), '[]')
  INTO v_changes FROM differences;
  INSERT INTO daily_label_sets AS c (tenant_id, day, sets)
  SELECT p_tenant_id, day, count(DISTINCT labels_id) FROM daily_label_costs WHERE tenant_id = p_tenant_id AND day = ANY (p_days) GROUP BY day
  ON CONFLICT (tenant_id, day) DO UPDATE SET sets = excluded.sets;

  IF jsonb_array_length(v_changes) > 0 THEN
    INSERT INTO audit_entries (tenant_id, api_key_id, author, action, details)
    VALUES (p_tenant_id, p_api_key_id, p_author, 'repair_books', jsonb_build_object('reason', p_reason, 'changes', v_changes));
  END IF;
  RETURN v_changes;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.repair_books(text, uuid[], date[], uuid, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.repair_books(text, uuid[], date[], uuid, text, text) TO spendlock_app;
