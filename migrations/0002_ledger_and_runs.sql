-- Up Migration
-- Reservations and the ledger; runs with their transcripts, files and events; API keys and idempotent requests.
SET LOCAL ROLE spendlock_owner;

-- One row per paid attempt, named by its operation id. `status` moves once from granted to an end:
--   granted → committed (at the actual cost, or at the estimate as unverified) | released | expired
-- denied and rejected are ends from the start. A release that overtook its reserve leaves a released row without a request.
CREATE TABLE copilot_internal.reservations (
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  operation_id uuid NOT NULL,
  user_id text,
  run_id uuid,
  kind text NOT NULL DEFAULT '',
  step integer,
  attempt integer,
  resource text CHECK (resource IN ('llm', 'e2b')),
  model text,
  price_version text,
  requested_usd numeric(38, 12) CHECK (requested_usd >= 0),
  minimum_usd numeric(38, 12) CHECK (minimum_usd >= 0 AND minimum_usd <= requested_usd),
  granted_usd numeric(38, 12) CHECK (granted_usd >= 0 AND granted_usd <= requested_usd),
  status text NOT NULL CHECK (status IN ('granted', 'denied', 'rejected', 'committed', 'released', 'expired')),
  refusal jsonb,
  decided_at timestamptz NOT NULL,
  expires_at timestamptz,
  -- The claim: set once, by the execution that may call the provider.
  claimed_at timestamptz,
  claim_token uuid,
  -- The outcome: written by that execution, folded into the balances by the authority.
  outcome text CHECK (outcome IN ('billed', 'not_billed')),
  outcome_usd numeric(38, 12) CHECK (outcome_usd >= 0),
  outcome_usage jsonb,
  outcome_result jsonb,
  outcome_at timestamptz,
  outcome_folded boolean NOT NULL DEFAULT false,
  -- The end.
  settlement text CHECK (settlement IN ('actual', 'unverified', 'released', 'expired')),
  committed_usd numeric(38, 12) CHECK (committed_usd >= 0),
  overrun_usd numeric(38, 12) CHECK (overrun_usd > 0),
  posted_at timestamptz,
  ended_at timestamptz,
  trace_context jsonb,
  PRIMARY KEY (tenant_id, operation_id),
  CHECK ((outcome IS NULL) = (outcome_at IS NULL)),
  CHECK ((outcome = 'billed') = (outcome_usd IS NOT NULL)),
  CHECK ((status IN ('committed', 'released', 'expired')) = (settlement IS NOT NULL)),
  CHECK ((status = 'committed') = (committed_usd IS NOT NULL))
);
CREATE INDEX reservations_open ON copilot_internal.reservations (tenant_id, expires_at) WHERE status = 'granted';
CREATE INDEX reservations_unfolded ON copilot_internal.reservations (tenant_id) WHERE outcome IS NOT NULL AND NOT outcome_folded;
CREATE INDEX reservations_by_run ON copilot_internal.reservations (run_id, decided_at) WHERE run_id IS NOT NULL;

-- The ledger. Rows are only added: a commit per committed reservation, and a correction when its cost is learned later.
CREATE TABLE copilot_internal.cost_records (
  cost_record_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  operation_id uuid NOT NULL,
  entry text NOT NULL CHECK (entry IN ('commit', 'correction')),
  user_id text,
  run_id uuid,
  kind text NOT NULL,
  resource text NOT NULL CHECK (resource IN ('llm', 'e2b')),
  model text,
  price_version text,
  amount_usd numeric(38, 12) NOT NULL CHECK (entry = 'correction' OR amount_usd >= 0),
  estimated_usd numeric(38, 12),
  settlement text NOT NULL CHECK (settlement IN ('actual', 'unverified')),
  usage jsonb,
  posted_at timestamptz NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  UNIQUE (tenant_id, operation_id, entry)
);
CREATE INDEX cost_records_by_tenant ON copilot_internal.cost_records (tenant_id, posted_at);
CREATE INDEX cost_records_by_run ON copilot_internal.cost_records (run_id) WHERE run_id IS NOT NULL;

-- One row per alert that is due: its uniqueness is what makes it one per quota, kind and period.
CREATE TABLE copilot_internal.quota_alerts (
  alert_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  tenant_id text REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  quota_id uuid NOT NULL REFERENCES copilot_internal.cost_quotas ON DELETE CASCADE,
  kind text NOT NULL CHECK (kind IN ('quota_warning', 'quota_exceeded')),
  period_start timestamptz NOT NULL,
  details jsonb NOT NULL,
  raised_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  sent_at timestamptz,
  UNIQUE (quota_id, kind, period_start)
);
CREATE INDEX quota_alerts_unsent ON copilot_internal.quota_alerts (tenant_id) WHERE sent_at IS NULL;

CREATE TABLE copilot_internal.runs (
  run_id uuid PRIMARY KEY,
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  user_id text,
  workflow_id text NOT NULL,
  model text NOT NULL,
  task text NOT NULL CHECK (length(task) BETWEEN 1 AND 100000),
  options jsonb NOT NULL DEFAULT '{}',
  status text NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'completed', 'quota_exceeded', 'failed', 'cancelled')),
  answer text,
  failure jsonb,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  ended_at timestamptz,
  CHECK ((status = 'running') = (ended_at IS NULL))
);
CREATE INDEX runs_by_tenant ON copilot_internal.runs (tenant_id, created_at DESC);

CREATE TABLE copilot_internal.run_files (
  run_id uuid NOT NULL REFERENCES copilot_internal.runs ON DELETE CASCADE,
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  name text NOT NULL CHECK (name ~ '^[A-Za-z0-9_][A-Za-z0-9._ -]{0,127}$'),
  content bytea NOT NULL CHECK (length(content) <= 20971520),
  PRIMARY KEY (run_id, name)
);

-- What the model saw and said, in the provider's message format.
CREATE TABLE copilot_internal.transcript_messages (
  run_id uuid NOT NULL REFERENCES copilot_internal.runs ON DELETE CASCADE,
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  sequence integer NOT NULL CHECK (sequence >= 0),
  role text NOT NULL CHECK (role IN ('user', 'assistant')),
  content jsonb NOT NULL,
  operation_id uuid,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (run_id, sequence)
);

-- What happened in a run, numbered from 1 without a gap. `event_key` makes a repeated write one event.
CREATE TABLE copilot_internal.run_events (
  run_id uuid NOT NULL REFERENCES copilot_internal.runs ON DELETE CASCADE,
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  sequence integer NOT NULL CHECK (sequence > 0),
  event_key text NOT NULL,
  type text NOT NULL,
  data jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (run_id, sequence),
  UNIQUE (run_id, event_key)
);

-- Appends one event; a repeated key changes nothing. The run's row is locked so that numbers follow commit order.
CREATE FUNCTION copilot_internal.append_run_event(p_run_id uuid, p_event_key text, p_type text, p_data jsonb) RETURNS void
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_tenant_id text;
BEGIN
  SELECT tenant_id INTO v_tenant_id FROM runs WHERE run_id = p_run_id FOR UPDATE;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  INSERT INTO run_events (run_id, tenant_id, sequence, event_key, type, data)
  SELECT p_run_id, v_tenant_id, coalesce(max(sequence), 0) + 1, p_event_key, p_type, p_data
  FROM run_events WHERE run_id = p_run_id
  ON CONFLICT (run_id, event_key) DO NOTHING;
END
$$;

-- Keys are 256 random bits; only their SHA-256 is kept. Without a tenant a key administers the installation.
CREATE TABLE copilot_internal.api_keys (
  api_key_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  key_hash bytea NOT NULL UNIQUE CHECK (length(key_hash) = 32),
  tenant_id text REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  label text NOT NULL DEFAULT '',
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  revoked_at timestamptz
);

-- Who a key speaks for. No rows: nobody. It is the one look-up that no tenant can be named for beforehand.
CREATE FUNCTION copilot_internal.authenticate_api_key(p_key_hash bytea)
  RETURNS TABLE (api_key_id uuid, tenant_id text)
  LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT k.api_key_id, k.tenant_id FROM api_keys k WHERE k.key_hash = p_key_hash AND k.revoked_at IS NULL
$$;

-- The first answer to a POST with an Idempotency-Key; a repeat of the same request gets it again.
CREATE TABLE copilot_internal.idempotent_requests (
  api_key_id uuid NOT NULL REFERENCES copilot_internal.api_keys ON DELETE CASCADE,
  idempotency_key text NOT NULL CHECK (length(idempotency_key) BETWEEN 1 AND 255),
  request_hash bytea NOT NULL,
  response_status integer,
  response_body jsonb,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (api_key_id, idempotency_key)
);

-- What operators changed, by whom and when.
CREATE TABLE copilot_internal.audit_entries (
  audit_entry_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id text REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  api_key_id uuid,
  action text NOT NULL,
  details jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Row security: the application sees the tenant that its transaction names. The owner, and so the SECURITY DEFINER
-- functions above, sees all.
DO $security$
DECLARE
  v_table text;
BEGIN
  FOREACH v_table IN ARRAY ARRAY['tenants', 'cost_quotas', 'reservations', 'cost_records', 'quota_alerts', 'runs',
    'run_files', 'transcript_messages', 'run_events', 'api_keys', 'audit_entries']
  LOOP
    EXECUTE format('ALTER TABLE copilot_internal.%I ENABLE ROW LEVEL SECURITY', v_table);
    EXECUTE format('ALTER TABLE copilot_internal.%I FORCE ROW LEVEL SECURITY', v_table);
    EXECUTE format('CREATE POLICY owner_sees_all ON copilot_internal.%I TO spendlock_owner USING (true)', v_table);
    EXECUTE format('CREATE POLICY one_tenant ON copilot_internal.%I TO spendlock_app
      USING (tenant_id = current_setting(''spendlock.tenant_id'', true))', v_table);
  END LOOP;
END
$security$;

-- Beyond its own rows every tenant's decision reads and updates the platform's quotas and raises their alerts, and
-- administration, which names no tenant, has rows without one.
CREATE POLICY platform_quotas ON copilot_internal.cost_quotas TO spendlock_app
  USING (tenant_id IS NULL) WITH CHECK (tenant_id IS NULL);
CREATE POLICY platform_alerts ON copilot_internal.quota_alerts TO spendlock_app
  USING (tenant_id IS NULL) WITH CHECK (tenant_id IS NULL);
CREATE POLICY administration_keys ON copilot_internal.api_keys TO spendlock_app
  USING (tenant_id IS NULL AND coalesce(current_setting('spendlock.tenant_id', true), '') = '')
  WITH CHECK (tenant_id IS NULL AND coalesce(current_setting('spendlock.tenant_id', true), '') = '');
CREATE POLICY administration_audit ON copilot_internal.audit_entries TO spendlock_app
  USING (tenant_id IS NULL AND coalesce(current_setting('spendlock.tenant_id', true), '') = '')
  WITH CHECK (tenant_id IS NULL AND coalesce(current_setting('spendlock.tenant_id', true), '') = '');

GRANT SELECT, INSERT ON copilot_internal.tenants, copilot_internal.cost_records, copilot_internal.run_events,
  copilot_internal.run_files, copilot_internal.transcript_messages, copilot_internal.audit_entries TO spendlock_app;
GRANT SELECT, INSERT, UPDATE ON copilot_internal.cost_quotas, copilot_internal.reservations, copilot_internal.quota_alerts,
  copilot_internal.runs, copilot_internal.api_keys, copilot_internal.idempotent_requests TO spendlock_app;
GRANT DELETE ON copilot_internal.idempotent_requests TO spendlock_app;
-- A row lock asks for an UPDATE privilege on some column.
GRANT UPDATE (name) ON copilot_internal.tenants TO spendlock_app;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA copilot_internal FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
  copilot_internal.period_bounds(text, timestamptz),
  copilot_internal.lock_quotas(text),
  copilot_internal.reset_ended_periods(text, timestamptz),
  copilot_internal.apply_quota_changes(text, jsonb),
  copilot_internal.check_and_record_quota_atomic(text, jsonb),
  copilot_internal.append_run_event(uuid, text, text, jsonb),
  copilot_internal.authenticate_api_key(bytea)
  TO spendlock_app;
RESET ROLE;
