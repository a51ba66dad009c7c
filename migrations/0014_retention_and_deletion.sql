-- Up Migration
-- What an installation keeps, and for how long: words of people and models are forgotten after a time, a tenant can be deleted, and
-- the ledger stays for as long as its tenant does. And what the metrics say of quotas.
SET LOCAL ROLE spendlock_owner;

ALTER TABLE copilot_internal.runs
  ADD COLUMN transcript_forgotten_at timestamptz,
  ADD COLUMN events_forgotten_at timestamptz;
CREATE INDEX runs_with_transcript ON copilot_internal.runs (ended_at)
  WHERE ended_at IS NOT NULL AND transcript_forgotten_at IS NULL;
CREATE INDEX runs_with_events ON copilot_internal.runs (ended_at)
  WHERE ended_at IS NOT NULL AND events_forgotten_at IS NULL;
CREATE INDEX idempotent_requests_by_age ON copilot_internal.idempotent_requests (created_at);

-- A tenant that was deleted, of which nothing is left but what it has spent of the platform's quotas in a period that still runs.
ALTER TABLE copilot_internal.tenants ADD COLUMN deleted_at timestamptz;

-- Forgets what was said and done in runs that ended before a moment: prompts, answers, programs, files. Their steps and costs stay.
CREATE FUNCTION copilot_internal.forget_transcripts(p_ended_before timestamptz, p_max integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_runs uuid[] := ARRAY(
    SELECT run_id FROM runs WHERE ended_at < p_ended_before AND transcript_forgotten_at IS NULL
    ORDER BY ended_at LIMIT p_max FOR UPDATE SKIP LOCKED);
BEGIN
  DELETE FROM transcript_messages WHERE run_id = ANY (v_runs);
  DELETE FROM context_compactions WHERE run_id = ANY (v_runs);
  DELETE FROM run_files WHERE run_id = ANY (v_runs);
  DELETE FROM reply_deltas WHERE run_id = ANY (v_runs);
  UPDATE turns SET message = '(forgotten)' WHERE run_id = ANY (v_runs);
  UPDATE approvals SET input = '{}', answer = CASE WHEN answer IS NOT NULL THEN '(forgotten)' END
  WHERE run_id = ANY (v_runs);
  -- Events tell of steps; what they quote goes.
  UPDATE run_events SET data = data - ARRAY['text', 'output', 'code', 'message', 'answer', 'input', 'question', 'summary']
  WHERE run_id = ANY (v_runs) AND data ?| ARRAY['text', 'output', 'code', 'message', 'answer', 'input', 'question', 'summary'];
  UPDATE runs
  SET task = CASE type WHEN 'task' THEN '(forgotten)' ELSE '' END, answer = NULL, options = options - 'instructions',
      transcript_forgotten_at = clock_timestamp()
  WHERE run_id = ANY (v_runs);
  RETURN cardinality(v_runs);
END
$$;

-- Forgets the events of runs that ended before a moment.
CREATE FUNCTION copilot_internal.forget_events(p_ended_before timestamptz, p_max integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_runs uuid[] := ARRAY(
    SELECT run_id FROM runs WHERE ended_at < p_ended_before AND events_forgotten_at IS NULL
    ORDER BY ended_at LIMIT p_max FOR UPDATE SKIP LOCKED);
BEGIN
  DELETE FROM run_events WHERE run_id = ANY (v_runs);
  UPDATE runs SET events_forgotten_at = clock_timestamp() WHERE run_id = ANY (v_runs);
  RETURN cardinality(v_runs);
END
$$;

-- What nobody can ask for any more: answers kept for repeated requests, and tenants that were deleted in a period that is over.
CREATE FUNCTION copilot_internal.forget_leftovers(p_requests_before timestamptz, p_max integer) RETURNS integer
  LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_count integer;
BEGIN
  DELETE FROM idempotent_requests WHERE (api_key_id, idempotency_key) IN (
    SELECT api_key_id, idempotency_key FROM idempotent_requests WHERE created_at < p_requests_before LIMIT p_max);
  GET DIAGNOSTICS v_count = ROW_COUNT;
  DELETE FROM tenants t WHERE deleted_at IS NOT NULL AND NOT EXISTS (
    SELECT FROM cost_quotas q WHERE q.tenant_id = t.tenant_id AND q.current_spend_usd > 0 AND q.period_end > clock_timestamp());
  RETURN v_count;
END
$$;

-- Deletes a tenant with all that is its own. 'unknown', or 'busy' while a run is open or money is held: nothing is changed then.
CREATE FUNCTION copilot_internal.delete_tenant(p_tenant_id text, p_api_key_id uuid, p_author text, p_reason text) RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_table text;
BEGIN
  IF NOT lock_quotas(p_tenant_id, '{}') OR EXISTS (SELECT FROM tenants WHERE tenant_id = p_tenant_id AND deleted_at IS NOT NULL) THEN
    RETURN 'unknown';
  END IF;
  IF EXISTS (SELECT FROM runs WHERE tenant_id = p_tenant_id AND status = 'running')
    OR EXISTS (SELECT FROM reservations WHERE tenant_id = p_tenant_id AND (status = 'granted' OR (outcome IS NOT NULL AND NOT outcome_folded)))
  THEN
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
END
$$;

CREATE OR REPLACE FUNCTION copilot_internal.list_tenants()
  RETURNS TABLE (tenant_id text, name text, frozen_reason text, limit_usd numeric, spent_usd numeric, reserved_usd numeric,
    created_at timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT t.tenant_id, t.name, t.frozen_reason,
         q.limit_usd + CASE WHEN q.period_end <= now() THEN 0 ELSE q.topup_usd END,
         CASE WHEN q.period_end <= now() THEN 0 ELSE q.current_spend_usd END, q.reserved_usd, t.created_at
  FROM tenants t
  LEFT JOIN cost_quotas q ON q.tenant_id = t.tenant_id AND q.scope = 'tenant' AND q.resource_type = 'all' AND q.period = 'month'
  WHERE t.deleted_at IS NULL
  ORDER BY t.tenant_id
$$;

-- The quotas of tenants for the metrics, those nearest to their limit first.
CREATE FUNCTION copilot_internal.quota_gauges(p_max integer)
  RETURNS TABLE (tenant_id text, resource_type text, period text, limit_usd numeric, spent_usd numeric, reserved_usd numeric)
  LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT q.tenant_id, q.resource_type, q.period, g.limit_usd, g.spent_usd, q.reserved_usd
  FROM cost_quotas q, LATERAL (
    SELECT q.limit_usd + CASE WHEN q.period_end <= now() THEN 0 ELSE q.topup_usd END AS limit_usd,
           CASE WHEN q.period_end <= now() THEN 0 ELSE q.current_spend_usd END AS spent_usd) g
  WHERE q.scope = 'tenant'
  ORDER BY (g.spent_usd + q.reserved_usd) / greatest(g.limit_usd, 0.000000000001) DESC, q.tenant_id, q.resource_type, q.period
  LIMIT p_max
$$;

REVOKE EXECUTE ON FUNCTION
  copilot_internal.forget_transcripts(timestamptz, integer),
  copilot_internal.forget_events(timestamptz, integer),
  copilot_internal.forget_leftovers(timestamptz, integer),
  copilot_internal.delete_tenant(text, uuid, text, text),
  copilot_internal.quota_gauges(integer)
  FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
  copilot_internal.forget_transcripts(timestamptz, integer),
  copilot_internal.forget_events(timestamptz, integer),
  copilot_internal.forget_leftovers(timestamptz, integer),
  copilot_internal.delete_tenant(text, uuid, text, text),
  copilot_internal.quota_gauges(integer)
  TO spendlock_app;

RESET ROLE;
