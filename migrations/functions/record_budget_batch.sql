-- Records what was decided. The locks are those of load_budget_batch, in the same transaction. What is written follows from what is
-- there: a row that is known is only changed from a status that the change comes from, a new one never replaces one that is
-- there, each end brings its line of the ledger, and the balances move by exactly what both say. Anything else is refused as a
-- whole (SL001), and the rows, the ledger and the balances stay as they were. Of an outcome of which only a part is known the row and
-- the ledger say so, whatever the decision calls it: one of the version before calls it actual.
--
--   from                  to          when
--   nothing               granted, denied, rejected; released, by a release of the same batch, or by one that came first
--   granted               granted     it holds for longer; of an envelope the rest changes as its parts take and give back (check_envelopes)
--   granted               committed   at what was billed, or at the known part of it; unbilled and claimed, or charged by its expiry, at its grant,
--                                     or what it was allowed without one (a process of the version before: what it asked for)
--   granted               released    unclaimed, or surely not billed
--   granted               expired     overdue
--   any end               the same    once more, by an outcome that is not folded yet
CREATE OR REPLACE FUNCTION copilot_internal.record_budget_batch(p_tenant_id text, p_batch jsonb) RETURNS jsonb
  LANGUAGE plpgsql
  SET search_path = pg_catalog, copilot_internal, pg_temp
  SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  -- Named in an array too, so that each row is found by its key whatever the planner believes of the table's size.
  v_operation_ids uuid[] := ARRAY(
    SELECT (entry ->> 'operationId')::uuid FROM jsonb_array_elements(p_batch -> 'ledger') AS entry);
  v_reservation_ids uuid[] := ARRAY(
    SELECT (reservation ->> 'operationId')::uuid FROM jsonb_array_elements(p_batch -> 'reservations') AS reservation);
  v_changed uuid[];
  v_added uuid[];
  v_wrong text;
  v_account jsonb;
  v_run_moves jsonb;
  v_label_moves jsonb;
  v_labels jsonb[];
  v_envelope_rows jsonb;
  v_envelope_moves jsonb;
  v_held_on jsonb := (
    SELECT jsonb_object_agg(reservation ->> 'operationId', reservation -> 'heldOn')
    FROM jsonb_array_elements(p_batch -> 'reservations') AS reservation WHERE reservation ? 'heldOn');
  v_beyond jsonb;
  v_next_wake_up_ms numeric;
  v_alerts_due bigint;
  v_has_waiters boolean;
  v_are_woken boolean;
  -- What the batch decides and ends has this number and its position in it: in the order of decisions, since it is taken under the lock.
  v_decision_no bigint := nextval('decision_numbers');
BEGIN
  -- load_budget_batch took the locks in this transaction.
  IF current_setting('spendlock.locked_tenant_id', true) IS DISTINCT FROM p_tenant_id THEN
    RAISE EXCEPTION 'record_budget_batch comes after load_budget_batch, in one transaction; nothing was recorded';
  END IF;
  -- Of what is there its row says on which limits it is held, and not the decision.
  IF v_held_on IS NOT NULL THEN
    PERFORM set_config('spendlock.held_on', (v_held_on || coalesce(nullif(current_setting('spendlock.held_on', true), '')::jsonb, '{}'))::text, true);
  END IF;
  PERFORM apply_quota_changes(p_tenant_id, p_batch -> 'changes');

  WITH asked AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(p_batch -> 'reservations') AS c (
      "operationId" uuid, "userId" text, "runId" uuid, kind text, step integer, attempt integer, resource text, model text,
      "priceVersion" text, "onExpiry" text, "requestedUsd" numeric, "minimumUsd" numeric, "grantedUsd" numeric, status text,
      refusal jsonb, "runLimitId" uuid, "decidedAt" timestamptz, "expiresAt" timestamptz, "outcomeFolded" boolean, settlement text,
      "committedUsd" numeric, "overrunUsd" numeric, "postedAt" timestamptz, "endedAt" timestamptz, "traceContext" jsonb, asker text,
      labels jsonb, "sentLabels" jsonb, "decidedPosition" integer, "endedPosition" integer, "decidedWith" jsonb,
      "parentId" uuid, "heldOn" text[], "envelopeUsd" numeric, "returnedUsd" numeric)
  ), changed AS (
    UPDATE reservations r SET
      status = c.status, granted_usd = c."grantedUsd", returned_usd = coalesce(r.returned_usd, c."returnedUsd"), expires_at = greatest(r.expires_at, c."expiresAt"), outcome_folded = c."outcomeFolded",
      settlement = CASE WHEN c.status = 'committed' AND c."outcomeFolded" AND r.outcome_unverified THEN 'unverified' ELSE c.settlement END,
      committed_usd = c."committedUsd", overrun_usd = c."overrunUsd",
      posted_at = coalesce(r.posted_at, c."postedAt"), ended_at = coalesce(r.ended_at, c."endedAt"), asker = coalesce(c.asker, r.asker),
      ended_no = CASE WHEN r.ended_at IS NULL AND c."endedAt" IS NOT NULL THEN v_decision_no + coalesce(c."endedPosition", 0) ELSE r.ended_no END
    FROM asked c, reservations o
    WHERE r.tenant_id = p_tenant_id AND r.operation_id = ANY (v_reservation_ids) AND r.operation_id = c."operationId"
      AND o.tenant_id = p_tenant_id AND o.operation_id = ANY (v_reservation_ids) AND o.operation_id = r.operation_id
      AND (r.user_id, r.run_id, r.resource, r.requested_usd, r.minimum_usd, CASE WHEN r.envelope_usd IS NULL THEN r.granted_usd ELSE c."grantedUsd" END,
          date_trunc('milliseconds', r.decided_at))
        IS NOT DISTINCT FROM
        (c."userId", c."runId", c.resource, c."requestedUsd", c."minimumUsd", c."grantedUsd", c."decidedAt")
      AND CASE
        WHEN r.status = 'granted' AND c.status = 'granted' THEN
          NOT c."outcomeFolded" AND r.outcome IS NULL AND c."expiresAt" >= date_trunc('milliseconds', r.expires_at)
          AND num_nonnulls(c.settlement, c."committedUsd", c."postedAt", c."endedAt") = 0
        WHEN r.status = 'granted' AND c.status = 'committed' AND r.outcome IS NULL THEN
          NOT c."outcomeFolded" AND c.settlement = 'unverified' AND num_nulls(c."postedAt", c."endedAt") = 0
          AND (r.claimed_at IS NOT NULL OR r.on_expiry = 'settle')
          AND (c."committedUsd" = r.granted_usd OR (r.unreserved AND c."committedUsd" IN (r.allowed_usd, r.requested_usd)))
        WHEN r.status = 'granted' AND c.status = 'committed' THEN
          c."outcomeFolded" AND (c.settlement = 'actual' OR (c.settlement = 'unverified' AND r.outcome_unverified))
          AND num_nulls(c."postedAt", c."endedAt") = 0
          AND r.outcome = 'billed' AND c."committedUsd" = r.outcome_usd
        WHEN r.status = 'granted' AND c.status IN ('released', 'expired') THEN
          c.settlement = c.status AND c."endedAt" IS NOT NULL AND num_nonnulls(c."committedUsd", c."postedAt") = 0
          AND c."outcomeFolded" = (r.outcome IS NOT NULL) AND r.outcome IS DISTINCT FROM 'billed'
          AND CASE WHEN r.outcome IS NOT NULL THEN c.status = 'released'
                   WHEN c.status = 'released' THEN r.claimed_at IS NULL
                   ELSE date_trunc('milliseconds', r.expires_at) <= c."endedAt" END
        WHEN r.status IN ('committed', 'released', 'expired') AND c.status = r.status THEN
          r.outcome IS NOT NULL AND NOT r.outcome_folded AND c."outcomeFolded"
          AND (c.settlement = CASE r.status WHEN 'committed' THEN 'actual' ELSE r.settlement END
            OR (c.settlement = 'unverified' AND r.status = 'committed' AND r.outcome_unverified))
          AND c."committedUsd" IS NOT DISTINCT FROM CASE r.status WHEN 'committed' THEN coalesce(r.outcome_usd, 0) END
        ELSE false
      END
    RETURNING r.operation_id, r.user_id, r.resource, r.limit_ids, o.status AS was, r.status, r.granted_usd, r.committed_usd, r.labels,
      o.granted_usd AS was_usd, r.parent_id, r.held_on, r.envelope_usd, r.returned_usd,
      coalesce(r.outcome_usd, 0) - coalesce(o.committed_usd, 0) AS corrected_by_usd
  ), added AS (
    INSERT INTO reservations (tenant_id, operation_id, user_id, run_id, kind, step, attempt, resource, model, price_version,
      on_expiry, requested_usd, minimum_usd, granted_usd, status, refusal, decided_at, expires_at, outcome_folded, settlement,
      committed_usd, overrun_usd, posted_at, ended_at, trace_context, limit_ids, asker, labels, sent_labels,
      decided_no, ended_no, decided_with, parent_id, held_on, envelope_usd, returned_usd)
    SELECT p_tenant_id, c."operationId", c."userId", c."runId", coalesce(c.kind, ''), c.step, c.attempt, c.resource, c.model,
      c."priceVersion", c."onExpiry", c."requestedUsd", c."minimumUsd", c."grantedUsd", c.status, c.refusal, c."decidedAt",
      c."expiresAt", c."outcomeFolded", c.settlement, c."committedUsd", c."overrunUsd", c."postedAt", c."endedAt",
      c."traceContext",
      -- By what is on record of its run. A decision of the version before knows of no limits of runs: what it grants counts for its run's.
      CASE WHEN c."grantedUsd" IS NOT NULL THEN (SELECT l.run_id || l.ancestor_ids FROM run_limits l WHERE l.tenant_id = p_tenant_id
        AND l.run_id = CASE WHEN p_batch ? 'countsRuns' THEN c."runLimitId" ELSE c."runId" END) END,
      c.asker, CASE WHEN p_batch ? 'keepsLabels' THEN c.labels ELSE '{}' END, c."sentLabels",
      v_decision_no + coalesce(c."decidedPosition", 0),
      CASE WHEN c."endedAt" IS NOT NULL THEN v_decision_no + coalesce(c."endedPosition", 0) END,
      CASE WHEN p_batch ? 'tellsOrder' THEN c."decidedWith" ELSE '{"isOlder": true}' END,
      c."parentId", c."heldOn", c."envelopeUsd", c."returnedUsd"
    FROM asked c
    WHERE NOT c."outcomeFolded" AND c."committedUsd" IS NULL AND c."postedAt" IS NULL AND CASE c.status
      WHEN 'granted' THEN num_nulls(c.resource, c."requestedUsd", c."grantedUsd", c."expiresAt") = 0
        AND coalesce(c."envelopeUsd", c."grantedUsd") >= coalesce(c."minimumUsd", c."requestedUsd") AND c."endedAt" IS NULL
      WHEN 'released' THEN c.settlement = 'released' AND c."endedAt" IS NOT NULL
      WHEN 'denied' THEN c."grantedUsd" IS NULL AND c."endedAt" IS NULL
      WHEN 'rejected' THEN c."grantedUsd" IS NULL AND c."endedAt" IS NULL
      ELSE false END
    ON CONFLICT DO NOTHING
    RETURNING operation_id, user_id, resource, limit_ids, status, granted_usd, labels, parent_id, held_on, envelope_usd, returned_usd, committed_usd
  ), lines AS (
    SELECT * FROM jsonb_to_recordset(p_batch -> 'ledger') AS c (
      "operationId" uuid, entry text, "amountUsd" numeric, settlement text, "postedAt" timestamptz)
  ), due AS (
    -- Each end at a cost brings a commit, each outcome that came later a correction by the difference. One by nothing may be left out.
    SELECT operation_id, CASE was WHEN 'granted' THEN 'commit' ELSE 'correction' END AS entry,
           CASE was WHEN 'granted' THEN committed_usd ELSE corrected_by_usd END AS amount_usd, labels
    FROM changed WHERE was <> 'granted' OR status = 'committed'
  ), moved AS (
    -- Of an open envelope the rest changes.
    SELECT user_id, resource, 'reserved' AS what, NULL::timestamptz AS at,
      CASE WHEN status = 'granted' THEN granted_usd ELSE 0 END - was_usd AS amount_usd
    FROM changed WHERE was = 'granted' AND (status <> 'granted' OR granted_usd <> was_usd)
    UNION ALL
    SELECT user_id, resource, 'reserved', NULL, granted_usd FROM added WHERE status = 'granted'
    UNION ALL
    SELECT c.user_id, c.resource, 'spent', l."postedAt", l."amountUsd"
    FROM lines l JOIN changed c ON c.operation_id = l."operationId"
    UNION ALL
    SELECT c."userId", c.resource, w.what, w.at, -w.amount_usd
    FROM jsonb_to_recordset(p_batch -> 'changes') AS c (
      "userId" text, resource text, "reservedDeltaUsd" numeric, "spentDeltaUsd" numeric, "postedAt" timestamptz)
    CROSS JOIN LATERAL (VALUES ('reserved', NULL, c."reservedDeltaUsd"), ('spent', c."postedAt", c."spentDeltaUsd"))
      AS w (what, at, amount_usd)
  ), run_moves AS (
    SELECT operation_id, limit_ids, -granted_usd AS reserved_usd, 0 AS spent_usd, false AS is_grant
    FROM changed WHERE was = 'granted' AND status <> 'granted' AND limit_ids IS NOT NULL
    UNION ALL
    SELECT operation_id, limit_ids, granted_usd, 0, true FROM added WHERE status = 'granted' AND limit_ids IS NOT NULL
    UNION ALL
    SELECT c.operation_id, c.limit_ids, 0, l."amountUsd", false
    FROM lines l JOIN changed c ON c.operation_id = l."operationId" WHERE c.limit_ids IS NOT NULL
  ), envelope_rows AS (
    SELECT operation_id, parent_id, envelope_usd, was_usd, granted_usd, status, was, returned_usd, committed_usd, labels, resource, held_on
    FROM changed WHERE parent_id IS NOT NULL OR envelope_usd IS NOT NULL
    UNION ALL
    SELECT operation_id, parent_id, envelope_usd, NULL, granted_usd, status, NULL, returned_usd, committed_usd, labels, resource, held_on
    FROM added WHERE parent_id IS NOT NULL OR envelope_usd IS NOT NULL
  ), envelope_moves AS (
    -- What an envelope is moved by, step by step: of a new one after its own grant.
    SELECT e.operation_id, e.labels, e.resource, e.held_on, c."reservedDeltaUsd" AS reserved_usd, c.sequence
    FROM envelope_rows e
    JOIN LATERAL (
      SELECT s.*, row_number() OVER (ORDER BY s.sequence) AS place
      FROM jsonb_to_recordset(p_batch -> 'changes') AS s (sequence integer, "operationId" uuid, "reservedDeltaUsd" numeric)
      WHERE s."operationId" = e.operation_id) AS c ON e.was IS NOT NULL OR c.place > 1 OR e.envelope_usd = 0
    WHERE e.envelope_usd IS NOT NULL
  ), label_moves AS (
    SELECT operation_id, labels, resource, held_on, -granted_usd AS reserved_usd, 0 AS spent_usd, NULL::timestamptz AS posted_at, false AS is_grant, NULL::integer AS sequence
    FROM changed WHERE was = 'granted' AND status <> 'granted' AND labels IS NOT NULL AND envelope_usd IS NULL
    UNION ALL
    SELECT operation_id, labels, resource, held_on, coalesce(envelope_usd, granted_usd), 0, NULL, parent_id IS NULL, NULL
    FROM added WHERE (status = 'granted' OR envelope_usd IS NOT NULL) AND labels IS NOT NULL
    UNION ALL
    SELECT operation_id, labels, resource, held_on, reserved_usd, 0, NULL, false, sequence FROM envelope_moves WHERE labels IS NOT NULL
    UNION ALL
    SELECT c.operation_id, c.labels, c.resource, c.held_on, 0, l."amountUsd", l."postedAt", false, NULL
    FROM lines l JOIN changed c ON c.operation_id = l."operationId" WHERE c.labels IS NOT NULL
  )
  SELECT ARRAY(SELECT operation_id FROM changed), ARRAY(SELECT operation_id FROM added), coalesce(
    (SELECT format('the ledger would get a %s of %s USD for %s, and %s USD is due', l.entry, l."amountUsd",
              coalesce(l."operationId", d.operation_id), d.amount_usd)
     FROM lines l FULL JOIN due d ON d.operation_id = l."operationId" AND d.entry = l.entry
     WHERE d.operation_id IS NULL OR l."amountUsd" <> d.amount_usd
        OR (l."operationId" IS NULL AND (d.entry = 'commit' OR d.amount_usd <> 0)) LIMIT 1),
    (SELECT format('%s USD of %s would be %s by no row', -sum(amount_usd), resource, what)
     FROM moved GROUP BY user_id, resource, what, at HAVING sum(amount_usd) <> 0 LIMIT 1)),
    (SELECT jsonb_build_object('granted', count(*) FILTER (WHERE status = 'granted'),
       'denied', count(*) FILTER (WHERE status = 'denied'), 'grantedUsd',
       -- What a part has its envelope was granted.
       coalesce(sum(coalesce(envelope_usd, granted_usd)) FILTER (WHERE parent_id IS NULL), 0)) FROM added),
    (SELECT jsonb_agg(m) FROM run_moves m),
    (SELECT jsonb_agg(m) FROM label_moves m WHERE jsonb_typeof(labels) = 'object' AND labels <> '{}'), ARRAY(SELECT DISTINCT labels FROM due WHERE jsonb_typeof(labels) = 'object' AND labels <> '{}'),
    (SELECT jsonb_agg(e) FROM envelope_rows e), (SELECT jsonb_agg(e) FROM envelope_moves e)
  INTO v_changed, v_added, v_wrong, v_account, v_run_moves, v_label_moves, v_labels, v_envelope_rows, v_envelope_moves;
  IF cardinality(v_changed) + cardinality(v_added) <> cardinality(v_reservation_ids) THEN
    v_wrong := (
      SELECT format('the reservation %s is %s and cannot become %s', c ->> 'operationId', coalesce(r.status, 'not there'), c ->> 'status')
      FROM jsonb_array_elements(p_batch -> 'reservations') AS c
      LEFT JOIN reservations r ON r.tenant_id = p_tenant_id AND r.operation_id = (c ->> 'operationId')::uuid
      WHERE (c ->> 'operationId')::uuid <> ALL (v_changed || v_added) LIMIT 1);
    v_wrong := coalesce(v_wrong, 'a reservation would be recorded twice');
  END IF;
  IF v_wrong IS NOT NULL THEN
    RAISE EXCEPTION 'reservation_guard: %; nothing was recorded', v_wrong USING ERRCODE = 'SL001';
  END IF;
  IF v_envelope_rows IS NOT NULL THEN
    PERFORM check_envelopes(p_tenant_id, v_envelope_rows, v_envelope_moves);
  END IF;
  IF v_run_moves IS NOT NULL THEN
    PERFORM apply_run_limits(p_tenant_id, v_run_moves, p_batch -> 'changes');
  END IF;
  IF v_label_moves IS NOT NULL THEN
    PERFORM apply_label_quotas(p_tenant_id, v_label_moves, p_batch -> 'changes', p_batch ? 'knowsLabelQuotas');
  END IF;

  IF cardinality(v_labels) > 0 THEN
    v_beyond := note_label_values(p_tenant_id, v_labels);
  END IF;
  IF cardinality(v_operation_ids) > 0 THEN
    INSERT INTO cost_records (tenant_id, operation_id, entry, user_id, run_id, kind, resource, model, price_version,
      amount_usd, estimated_usd, settlement, usage, posted_at, labels, decision_no)
    SELECT p_tenant_id, r.operation_id, c.entry, r.user_id, r.run_id, r.kind, r.resource, r.model, r.price_version,
      c."amountUsd", r.granted_usd, CASE WHEN r.outcome_unverified THEN 'unverified' ELSE c.settlement END, r.outcome_usage, c."postedAt",
      CASE WHEN r.labels <> '{}' AND jsonb_typeof(r.labels) = 'object' THEN CASE WHEN v_beyond IS NULL THEN r.labels ELSE
        (SELECT jsonb_object_agg(key, CASE WHEN v_beyond -> key ? value THEN 'other' ELSE value END) FROM jsonb_each_text(r.labels)) END END,
      v_decision_no + coalesce(c.position, 0)
    FROM jsonb_to_recordset(p_batch -> 'ledger') AS c (
      "operationId" uuid, entry text, "amountUsd" numeric, settlement text, "postedAt" timestamptz, position integer)
    JOIN reservations r
      ON r.tenant_id = p_tenant_id AND r.operation_id = ANY (v_operation_ids) AND r.operation_id = c."operationId"
    ORDER BY c.position;
  END IF;

  IF jsonb_array_length(p_batch -> 'alerts') > 0 THEN
    INSERT INTO quota_alerts (tenant_id, quota_id, kind, threshold, period_start, details)
    SELECT q.tenant_id, q.quota_id, c.kind, c."thresholdBasisPoints" / 10000.0, q.period_start, c.details
    FROM jsonb_to_recordset(p_batch -> 'alerts') AS c (
      "quotaId" uuid, kind text, "thresholdBasisPoints" numeric, details jsonb)
    JOIN cost_quotas q ON q.quota_id = c."quotaId"
    ON CONFLICT DO NOTHING;
  END IF;

  -- Nothing is kept any more for those that have their money.
  IF jsonb_array_length(p_batch -> 'served') > 0 THEN
    UPDATE money_waiters SET kept_until = NULL
    WHERE waiter_id IN (
      SELECT waiter_id FROM money_waiters
      WHERE tenant_id = p_tenant_id AND waiter_id IN (SELECT id::uuid FROM jsonb_array_elements_text(p_batch -> 'served') AS id)
      ORDER BY waiter_id FOR UPDATE);
  END IF;

  v_next_wake_up_ms := (SELECT floor(extract(epoch FROM min(expires_at)) * 1000) FROM reservations
                        WHERE tenant_id = p_tenant_id AND status = 'granted');
  v_has_waiters := EXISTS (SELECT FROM money_waiters WHERE tenant_id = p_tenant_id);
  v_are_woken := v_has_waiters AND EXISTS (SELECT FROM money_waiters WHERE tenant_id = p_tenant_id AND is_woken);
  v_alerts_due := (SELECT count(*) FROM quota_alerts WHERE (tenant_id = p_tenant_id OR tenant_id IS NULL) AND sent_at IS NULL);
  RETURN jsonb_build_object('nextWakeUpMs', v_next_wake_up_ms, 'alertsDue', v_alerts_due, 'moneyWaiters', v_has_waiters)
    || coalesce(record_mandate(p_tenant_id, p_batch -> 'authority', v_account, jsonb_build_object(
      'nextWakeUpMs', v_next_wake_up_ms,
      -- An alert to send; money that came free, or is kept no longer, while somebody waits for some.
      'urgent', jsonb_array_length(p_batch -> 'alerts') > 0 OR (v_are_woken AND (
        coalesce(jsonb_array_length(p_batch -> 'served'), 0) > 0 OR EXISTS (
        SELECT FROM jsonb_to_recordset(p_batch -> 'changes') AS c ("reservedDeltaUsd" numeric, "spentDeltaUsd" numeric)
        WHERE c."reservedDeltaUsd" + c."spentDeltaUsd" < 0))),
      -- Whoever waits is looked for after each decision: a period may have ended, or somebody before them have gone.
      'awaited', v_are_woken)), '{}');
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.record_budget_batch(text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.record_budget_batch(text, jsonb) TO spendlock_app;
