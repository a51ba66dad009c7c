-- The schema that the migrations come to. Written by scripts/dump-schema.ts; not to be edited.

-- Types

CREATE DOMAIN usd_rate AS numeric CHECK (((VALUE >= (0)::numeric) AND (VALUE < (1000000)::numeric) AND (min_scale(VALUE) <= 6)));

-- Tables, with their constraints

CREATE TABLE api_keys (
  api_key_id uuid DEFAULT gen_random_uuid() NOT NULL,
  key_hash bytea NOT NULL,
  tenant_id text,
  label text DEFAULT ''::text NOT NULL,
  created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  revoked_at timestamp with time zone,
  role text,
  labels jsonb,
  CONSTRAINT api_keys_key_hash_check CHECK ((length(key_hash) = 32)),
  CONSTRAINT api_keys_key_hash_key UNIQUE (key_hash),
  CONSTRAINT api_keys_pkey PRIMARY KEY (api_key_id),
  CONSTRAINT api_keys_role_check CHECK ((role = ANY (ARRAY['operator'::text, 'agent'::text, 'reader'::text]))),
  CONSTRAINT api_keys_role_of_tenant CHECK (((role IS NULL) OR (tenant_id IS NOT NULL))),
  CONSTRAINT api_keys_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(tenant_id) ON DELETE CASCADE
);

CREATE TABLE approvals (
  approval_id uuid NOT NULL,
  run_id uuid NOT NULL,
  tenant_id text NOT NULL,
  turn_id uuid,
  step integer NOT NULL,
  tool_use_id text NOT NULL,
  tool text NOT NULL,
  kind text NOT NULL,
  input jsonb NOT NULL,
  status text DEFAULT 'pending'::text NOT NULL,
  answer text,
  decided_by text,
  created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  decided_at timestamp with time zone,
  told_at timestamp with time zone,
  decided_by_key uuid,
  decided_by_role text,
  CONSTRAINT approvals_check CHECK (((status = 'pending'::text) = (decided_at IS NULL))),
  CONSTRAINT approvals_check1 CHECK (((status = 'answered'::text) <= ((answer IS NOT NULL) AND (kind = 'question'::text)))),
  CONSTRAINT approvals_kind_check CHECK ((kind = ANY (ARRAY['approval'::text, 'question'::text]))),
  CONSTRAINT approvals_pkey PRIMARY KEY (approval_id),
  CONSTRAINT approvals_run_id_fkey FOREIGN KEY (run_id) REFERENCES runs(run_id) ON DELETE CASCADE,
  CONSTRAINT approvals_run_id_step_tool_use_id_key UNIQUE (run_id, step, tool_use_id),
  CONSTRAINT approvals_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'approved'::text, 'refused'::text, 'answered'::text, 'withdrawn'::text]))),
  CONSTRAINT approvals_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(tenant_id) ON DELETE CASCADE
);

CREATE TABLE audit_entries (
  audit_entry_id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
  tenant_id text,
  api_key_id uuid,
  action text NOT NULL,
  details jsonb NOT NULL,
  created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  author text,
  CONSTRAINT audit_entries_pkey PRIMARY KEY (audit_entry_id),
  CONSTRAINT audit_entries_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(tenant_id) ON DELETE CASCADE
);

CREATE TABLE context_compactions (
  run_id uuid NOT NULL,
  tenant_id text NOT NULL,
  through_sequence integer NOT NULL,
  summary text,
  operation_id uuid,
  created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  CONSTRAINT context_compactions_run_id_fkey FOREIGN KEY (run_id) REFERENCES runs(run_id) ON DELETE CASCADE,
  CONSTRAINT context_compactions_run_id_through_sequence_operation_id_key UNIQUE NULLS NOT DISTINCT (run_id, through_sequence, operation_id),
  CONSTRAINT context_compactions_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(tenant_id) ON DELETE CASCADE,
  CONSTRAINT context_compactions_through_sequence_check CHECK ((through_sequence > 0))
);

CREATE TABLE cost_quotas (
  quota_id uuid DEFAULT gen_random_uuid() NOT NULL,
  tenant_id text,
  scope text NOT NULL,
  scope_id text NOT NULL,
  resource_type text NOT NULL,
  period text NOT NULL,
  limit_usd numeric(38,12) NOT NULL,
  current_spend_usd numeric(38,12) DEFAULT 0 NOT NULL,
  reserved_usd numeric(38,12) DEFAULT 0 NOT NULL,
  period_start timestamp with time zone NOT NULL,
  period_end timestamp with time zone NOT NULL,
  warning_threshold numeric(5,4) DEFAULT 0.80 NOT NULL,
  updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  topup_usd numeric(38,12) DEFAULT 0 NOT NULL,
  more_warning_thresholds numeric(5,4)[] DEFAULT '{}'::numeric[] NOT NULL,
  from_default boolean DEFAULT false NOT NULL,
  lease_of uuid,
  exhausted_until timestamp with time zone,
  platform_frees_at timestamp with time zone,
  topup_kept_usd numeric(38,12) DEFAULT 0 NOT NULL,
  expiring_topups jsonb,
  topup_expires_at timestamp with time zone,
  CONSTRAINT cost_quotas_check CHECK ((period_end > period_start)),
  CONSTRAINT cost_quotas_check2 CHECK (((scope <> 'tenant'::text) OR (scope_id = tenant_id))),
  CONSTRAINT cost_quotas_lease_of_fkey FOREIGN KEY (lease_of) REFERENCES cost_quotas(quota_id) ON DELETE CASCADE,
  CONSTRAINT cost_quotas_limit_usd_check CHECK (((limit_usd >= (0)::numeric) AND (limit_usd < ('1000000000000'::bigint)::numeric))),
  CONSTRAINT cost_quotas_more_warning_thresholds_check CHECK ((((0)::numeric < ALL (more_warning_thresholds)) AND ((1)::numeric >= ALL (more_warning_thresholds)) AND (cardinality(more_warning_thresholds) <= 10))),
  CONSTRAINT cost_quotas_period_check CHECK ((period = ANY (ARRAY['day'::text, 'week'::text, 'month'::text, 'lifetime'::text]))),
  CONSTRAINT cost_quotas_pkey PRIMARY KEY (quota_id),
  CONSTRAINT cost_quotas_reserved_usd_check CHECK ((reserved_usd >= (0)::numeric)),
  CONSTRAINT cost_quotas_resource_type_check CHECK ((resource_type ~ '^[a-z][a-z0-9_.-]{0,31}$'::text)) NOT VALID,
  CONSTRAINT cost_quotas_scope_check CHECK ((scope = ANY (ARRAY['platform'::text, 'tenant'::text, 'user'::text, 'label'::text, 'shadow_tenant'::text, 'shadow_user'::text, 'shadow_label'::text]))) NOT VALID,
  CONSTRAINT cost_quotas_scope_id_check CHECK (((length(scope_id) >= 1) AND (length(scope_id) <= 128))),
  CONSTRAINT cost_quotas_scope_tenant_check CHECK (
CASE scope
    WHEN 'platform'::text THEN ((tenant_id IS NULL) = (lease_of IS NULL))
    ELSE ((tenant_id IS NOT NULL) AND (lease_of IS NULL))
END),
  CONSTRAINT cost_quotas_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(tenant_id) ON DELETE CASCADE,
  CONSTRAINT cost_quotas_tenant_id_scope_scope_id_resource_type_period_key UNIQUE NULLS NOT DISTINCT (tenant_id, scope, scope_id, resource_type, period),
  CONSTRAINT cost_quotas_topup_usd_check CHECK (((topup_usd >= (0)::numeric) AND (topup_usd < ('1000000000000'::bigint)::numeric))),
  CONSTRAINT cost_quotas_topups_check CHECK (((topup_kept_usd >= (0)::numeric) AND (topup_kept_usd <= topup_usd) AND ((expiring_topups IS NULL) = (topup_expires_at IS NULL)))) NOT VALID,
  CONSTRAINT cost_quotas_warning_threshold_check CHECK (((warning_threshold > (0)::numeric) AND (warning_threshold <= (1)::numeric)))
);

CREATE TABLE cost_records (
  cost_record_id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
  tenant_id text NOT NULL,
  operation_id uuid NOT NULL,
  entry text NOT NULL,
  user_id text,
  run_id uuid,
  kind text NOT NULL,
  resource text NOT NULL,
  model text,
  price_version text,
  amount_usd numeric(38,12) NOT NULL,
  estimated_usd numeric(38,12),
  settlement text NOT NULL,
  usage jsonb,
  posted_at timestamp with time zone NOT NULL,
  recorded_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  reason text,
  author text,
  unverified_usd numeric(38,12) DEFAULT 0 NOT NULL,
  labels jsonb,
  decision_no bigint,
  CONSTRAINT cost_records_amount_check CHECK (((entry <> 'commit'::text) OR (amount_usd >= (0)::numeric))),
  CONSTRAINT cost_records_author_check CHECK (((entry = 'adjustment'::text) = ((reason IS NOT NULL) AND (author IS NOT NULL)))),
  CONSTRAINT cost_records_entry_check CHECK ((entry = ANY (ARRAY['commit'::text, 'correction'::text, 'adjustment'::text]))),
  CONSTRAINT cost_records_pkey PRIMARY KEY (cost_record_id),
  CONSTRAINT cost_records_resource_check CHECK (((resource ~ '^[a-z][a-z0-9_.-]{0,31}$'::text) AND (resource <> 'all'::text))) NOT VALID,
  CONSTRAINT cost_records_settlement_check CHECK ((settlement = ANY (ARRAY['actual'::text, 'unverified'::text]))),
  CONSTRAINT cost_records_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(tenant_id) ON DELETE CASCADE
);

CREATE TABLE daily_costs (
  tenant_id text NOT NULL,
  day date NOT NULL,
  resource text NOT NULL,
  kind text NOT NULL,
  model text NOT NULL,
  user_id text NOT NULL,
  cost_usd numeric(38,12) NOT NULL,
  unverified_usd numeric(38,12) NOT NULL,
  operations bigint NOT NULL,
  cache_saved_usd numeric(38,12) DEFAULT 0 NOT NULL,
  CONSTRAINT daily_costs_pkey PRIMARY KEY (tenant_id, day, resource, kind, model, user_id),
  CONSTRAINT daily_costs_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(tenant_id) ON DELETE CASCADE
);

CREATE TABLE daily_label_costs (
  tenant_id text NOT NULL,
  day date NOT NULL,
  labels_id uuid NOT NULL,
  labels jsonb NOT NULL,
  resource text NOT NULL,
  kind text NOT NULL,
  model text NOT NULL,
  cost_usd numeric(38,12) NOT NULL,
  unverified_usd numeric(38,12) NOT NULL,
  operations bigint NOT NULL,
  cache_saved_usd numeric(38,12) DEFAULT 0 NOT NULL,
  CONSTRAINT daily_label_costs_pkey PRIMARY KEY (tenant_id, day, labels_id, resource, kind, model),
  CONSTRAINT daily_label_costs_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(tenant_id) ON DELETE CASCADE
);

CREATE TABLE daily_label_sets (
  tenant_id text NOT NULL,
  day date NOT NULL,
  sets integer NOT NULL,
  CONSTRAINT daily_label_sets_pkey PRIMARY KEY (tenant_id, day),
  CONSTRAINT daily_label_sets_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(tenant_id) ON DELETE CASCADE
);

CREATE TABLE frozen_users (
  tenant_id text NOT NULL,
  user_id text NOT NULL,
  frozen_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  frozen_reason text NOT NULL,
  CONSTRAINT frozen_users_pkey PRIMARY KEY (tenant_id, user_id),
  CONSTRAINT frozen_users_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(tenant_id) ON DELETE CASCADE,
  CONSTRAINT frozen_users_user_id_check CHECK (((length(user_id) >= 1) AND (length(user_id) <= 128)))
);

CREATE TABLE idempotent_requests (
  api_key_id uuid NOT NULL,
  idempotency_key text NOT NULL,
  request_hash bytea NOT NULL,
  response_status integer,
  response_body jsonb,
  created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  tenant_id text,
  seed uuid,
  CONSTRAINT idempotent_requests_api_key_id_fkey FOREIGN KEY (api_key_id) REFERENCES api_keys(api_key_id) ON DELETE CASCADE,
  CONSTRAINT idempotent_requests_idempotency_key_check CHECK (((length(idempotency_key) >= 1) AND (length(idempotency_key) <= 255))),
  CONSTRAINT idempotent_requests_pkey PRIMARY KEY (api_key_id, idempotency_key)
);

CREATE TABLE installation (
  one_row boolean DEFAULT true NOT NULL,
  installation_id uuid DEFAULT gen_random_uuid() NOT NULL,
  looked_at_tenant text DEFAULT ''::text NOT NULL,
  CONSTRAINT installation_one_row_check CHECK (one_row),
  CONSTRAINT installation_pkey PRIMARY KEY (one_row)
);

CREATE TABLE label_quota_defaults (
  tenant_id text NOT NULL,
  key text NOT NULL,
  resource_type text NOT NULL,
  period text NOT NULL,
  limit_usd numeric(38,12) NOT NULL,
  warning_threshold numeric(5,4) DEFAULT 0.80 NOT NULL,
  CONSTRAINT label_quota_defaults_limit_usd_check CHECK (((limit_usd >= (0)::numeric) AND (limit_usd < ('1000000000000'::bigint)::numeric))),
  CONSTRAINT label_quota_defaults_period_check CHECK ((period = ANY (ARRAY['day'::text, 'week'::text, 'month'::text, 'lifetime'::text]))),
  CONSTRAINT label_quota_defaults_pkey PRIMARY KEY (tenant_id, key, resource_type, period),
  CONSTRAINT label_quota_defaults_resource_type_check CHECK ((resource_type ~ '^[a-z][a-z0-9_.-]{0,31}$'::text)) NOT VALID,
  CONSTRAINT label_quota_defaults_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(tenant_id) ON DELETE CASCADE,
  CONSTRAINT label_quota_defaults_warning_threshold_check CHECK (((warning_threshold > (0)::numeric) AND (warning_threshold <= (1)::numeric)))
);

CREATE TABLE label_values (
  tenant_id text NOT NULL,
  key text NOT NULL,
  value text NOT NULL,
  CONSTRAINT label_values_pkey PRIMARY KEY (tenant_id, key, value),
  CONSTRAINT label_values_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(tenant_id) ON DELETE CASCADE
);

CREATE TABLE limit_changes (
  tenant_id text NOT NULL,
  decision_no bigint NOT NULL,
  changed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  quota_id uuid NOT NULL,
  is_removed boolean NOT NULL,
  scope text NOT NULL,
  scope_id text NOT NULL,
  resource_type text NOT NULL,
  period text NOT NULL,
  limit_usd numeric(38,12) NOT NULL,
  topup_usd numeric(38,12) NOT NULL,
  topup_kept_usd numeric(38,12) NOT NULL,
  expiring_topups jsonb,
  spent_usd numeric(38,12) NOT NULL,
  reserved_usd numeric(38,12) NOT NULL,
  period_start timestamp with time zone NOT NULL,
  period_end timestamp with time zone NOT NULL,
  CONSTRAINT limit_changes_pkey PRIMARY KEY (tenant_id, decision_no),
  CONSTRAINT limit_changes_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(tenant_id) ON DELETE CASCADE
);

CREATE TABLE mandates (
  tenant_id text NOT NULL,
  open_until timestamp with time zone,
  rules text DEFAULT ''::text NOT NULL,
  barred_at timestamp with time zone,
  barred_reason text,
  granted bigint DEFAULT 0 NOT NULL,
  denied bigint DEFAULT 0 NOT NULL,
  granted_usd numeric(38,18) DEFAULT 0 NOT NULL,
  wake_up_at timestamp with time zone,
  left_at timestamp with time zone,
  needed_at timestamp with time zone,
  CONSTRAINT mandates_check CHECK (((barred_at IS NULL) = (barred_reason IS NULL))),
  CONSTRAINT mandates_pkey PRIMARY KEY (tenant_id),
  CONSTRAINT mandates_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(tenant_id) ON DELETE CASCADE
);

CREATE TABLE model_prices (
  price_version text NOT NULL,
  provider text NOT NULL,
  model text NOT NULL,
  effective_from timestamp with time zone NOT NULL,
  input_usd_per_mtok usd_rate NOT NULL,
  output_usd_per_mtok usd_rate NOT NULL,
  cache_read_usd_per_mtok usd_rate,
  cache_write_5m_usd_per_mtok usd_rate,
  cache_write_1h_usd_per_mtok usd_rate,
  long_context_threshold_tokens integer,
  long_context_input_usd_per_mtok usd_rate,
  long_context_output_usd_per_mtok usd_rate,
  long_context_cache_read_usd_per_mtok usd_rate,
  long_context_cache_write_5m_usd_per_mtok usd_rate,
  long_context_cache_write_1h_usd_per_mtok usd_rate,
  web_search_usd_per_thousand usd_rate,
  multipliers jsonb DEFAULT '{}'::jsonb NOT NULL,
  notes text DEFAULT ''::text NOT NULL,
  source text NOT NULL,
  source_date date NOT NULL,
  created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  CONSTRAINT model_prices_check CHECK ((starts_with(price_version, (((provider || '/'::text) || model) || '@'::text)) AND (length(price_version) <= 200))),
  CONSTRAINT model_prices_check1 CHECK ((num_nulls(long_context_threshold_tokens, long_context_input_usd_per_mtok, long_context_output_usd_per_mtok) = ANY (ARRAY[0, 3]))),
  CONSTRAINT model_prices_check2 CHECK (((long_context_threshold_tokens IS NOT NULL) OR (num_nonnulls(long_context_cache_read_usd_per_mtok, long_context_cache_write_5m_usd_per_mtok, long_context_cache_write_1h_usd_per_mtok) = 0))),
  CONSTRAINT model_prices_effective_from_check CHECK (isfinite(effective_from)),
  CONSTRAINT model_prices_long_context_threshold_tokens_check CHECK ((long_context_threshold_tokens > 0)),
  CONSTRAINT model_prices_model_check CHECK ((model ~ '^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}$'::text)),
  CONSTRAINT model_prices_model_effective_from_key UNIQUE (model, effective_from),
  CONSTRAINT model_prices_multipliers_check CHECK (are_price_multipliers(multipliers)),
  CONSTRAINT model_prices_notes_check CHECK ((length(notes) <= 1000)),
  CONSTRAINT model_prices_pkey PRIMARY KEY (price_version),
  CONSTRAINT model_prices_provider_check CHECK ((provider ~ '^[a-z][a-z0-9-]{0,39}$'::text)),
  CONSTRAINT model_prices_source_check CHECK (((length(source) >= 1) AND (length(source) <= 500)))
);

CREATE TABLE money_requests (
  request_id uuid NOT NULL,
  tenant_id text NOT NULL,
  waiter_id uuid NOT NULL,
  workflow_id text NOT NULL,
  run_id uuid,
  user_id text,
  kind text NOT NULL,
  resource text NOT NULL,
  labels jsonb,
  quota jsonb NOT NULL,
  lacks_usd numeric(38,12) NOT NULL,
  asked_usd numeric(38,12) NOT NULL,
  steps integer,
  cost_usd numeric(38,12),
  last_answer jsonb,
  status text DEFAULT 'pending'::text NOT NULL,
  granted_usd numeric(38,12),
  expires_at timestamp with time zone,
  lifted jsonb,
  reason text,
  decided_by text,
  decided_by_key uuid,
  decided_by_role text,
  created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  waits_until timestamp with time zone NOT NULL,
  decided_at timestamp with time zone,
  told_to uuid,
  signalled_at timestamp with time zone,
  CONSTRAINT money_requests_asked_usd_check CHECK ((asked_usd > (0)::numeric)),
  CONSTRAINT money_requests_check CHECK (((status = 'pending'::text) = (decided_at IS NULL))),
  CONSTRAINT money_requests_check1 CHECK (((status = 'granted'::text) = (granted_usd IS NOT NULL))),
  CONSTRAINT money_requests_granted_usd_check CHECK ((granted_usd > (0)::numeric)),
  CONSTRAINT money_requests_lacks_usd_check CHECK ((lacks_usd >= (0)::numeric)),
  CONSTRAINT money_requests_pkey PRIMARY KEY (request_id),
  CONSTRAINT money_requests_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'granted'::text, 'refused'::text, 'withdrawn'::text, 'expired'::text]))),
  CONSTRAINT money_requests_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(tenant_id) ON DELETE CASCADE
);

CREATE TABLE money_waiters (
  waiter_id uuid NOT NULL,
  tenant_id text NOT NULL,
  workflow_id text NOT NULL,
  run_id uuid,
  user_id text,
  resource text NOT NULL,
  needed_usd numeric(38,12) NOT NULL,
  is_woken boolean NOT NULL,
  waiting_since timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  woken_at timestamp with time zone,
  wanted_usd numeric(38,12),
  is_named boolean DEFAULT false NOT NULL,
  kept_usd numeric(38,12),
  kept_until timestamp with time zone,
  labels jsonb,
  CONSTRAINT money_waiters_check CHECK ((wanted_usd >= needed_usd)),
  CONSTRAINT money_waiters_kept_usd_check CHECK ((kept_usd >= (0)::numeric)),
  CONSTRAINT money_waiters_needed_usd_check CHECK ((needed_usd >= (0)::numeric)),
  CONSTRAINT money_waiters_pkey PRIMARY KEY (waiter_id),
  CONSTRAINT money_waiters_resource_check CHECK (((resource ~ '^[a-z][a-z0-9_.-]{0,31}$'::text) AND (resource <> 'all'::text))) NOT VALID,
  CONSTRAINT money_waiters_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(tenant_id) ON DELETE CASCADE
);

CREATE TABLE quota_alerts (
  alert_id uuid DEFAULT gen_random_uuid() NOT NULL,
  tenant_id text,
  quota_id uuid NOT NULL,
  kind text NOT NULL,
  period_start timestamp with time zone NOT NULL,
  details jsonb NOT NULL,
  raised_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  sent_at timestamp with time zone,
  threshold numeric(5,4),
  next_try_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
  tries integer DEFAULT 0 NOT NULL,
  CONSTRAINT quota_alerts_kind_check CHECK ((kind = ANY (ARRAY['quota_warning'::text, 'quota_exceeded'::text, 'overrun'::text, 'money_request'::text]))),
  CONSTRAINT quota_alerts_once UNIQUE NULLS NOT DISTINCT (quota_id, kind, period_start, threshold),
  CONSTRAINT quota_alerts_pkey PRIMARY KEY (alert_id),
  CONSTRAINT quota_alerts_quota_id_fkey FOREIGN KEY (quota_id) REFERENCES cost_quotas(quota_id) ON DELETE CASCADE,
  CONSTRAINT quota_alerts_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(tenant_id) ON DELETE CASCADE
);

CREATE TABLE reply_deltas (
  run_id uuid NOT NULL,
  tenant_id text NOT NULL,
  operation_id uuid NOT NULL,
  "position" integer NOT NULL,
  text text NOT NULL,
  created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  CONSTRAINT reply_deltas_pkey PRIMARY KEY (run_id, operation_id, "position"),
  CONSTRAINT reply_deltas_position_check CHECK (("position" >= 0))
);

CREATE TABLE reservations (
  tenant_id text NOT NULL,
  operation_id uuid NOT NULL,
  user_id text,
  run_id uuid,
  kind text DEFAULT ''::text NOT NULL,
  step integer,
  attempt integer,
  resource text,
  model text,
  price_version text,
  requested_usd numeric(38,12),
  minimum_usd numeric(38,12),
  granted_usd numeric(38,12),
  status text NOT NULL,
  refusal jsonb,
  decided_at timestamp with time zone NOT NULL,
  expires_at timestamp with time zone,
  claimed_at timestamp with time zone,
  claim_token uuid,
  outcome text,
  outcome_usd numeric(38,12),
  outcome_usage jsonb,
  outcome_result jsonb,
  outcome_at timestamp with time zone,
  outcome_folded boolean DEFAULT false NOT NULL,
  settlement text,
  committed_usd numeric(38,12),
  overrun_usd numeric(38,12),
  posted_at timestamp with time zone,
  ended_at timestamp with time zone,
  trace_context jsonb,
  on_expiry text,
  unreserved boolean DEFAULT false NOT NULL,
  outcome_unverified boolean DEFAULT false NOT NULL,
  allowed_usd numeric(38,12),
  limit_ids uuid[],
  asker text,
  labels jsonb,
  sent_labels jsonb,
  decided_no bigint,
  ended_no bigint,
  decided_with jsonb,
  parent_id uuid,
  held_on text[],
  envelope_usd numeric(38,12),
  returned_usd numeric(38,12),
  CONSTRAINT reservations_check CHECK (((minimum_usd >= (0)::numeric) AND (minimum_usd <= requested_usd))),
  CONSTRAINT reservations_check1 CHECK (((granted_usd >= (0)::numeric) AND (granted_usd <= requested_usd))),
  CONSTRAINT reservations_check2 CHECK (((outcome IS NULL) = (outcome_at IS NULL))),
  CONSTRAINT reservations_check3 CHECK (((outcome = 'billed'::text) = (outcome_usd IS NOT NULL))),
  CONSTRAINT reservations_check4 CHECK (((status = ANY (ARRAY['committed'::text, 'released'::text, 'expired'::text])) = (settlement IS NOT NULL))),
  CONSTRAINT reservations_check5 CHECK (((status = 'committed'::text) = (committed_usd IS NOT NULL))),
  CONSTRAINT reservations_committed_usd_check CHECK ((committed_usd >= (0)::numeric)),
  CONSTRAINT reservations_on_expiry_check CHECK ((on_expiry = ANY (ARRAY['release'::text, 'settle'::text]))),
  CONSTRAINT reservations_outcome_check CHECK ((outcome = ANY (ARRAY['billed'::text, 'not_billed'::text]))),
  CONSTRAINT reservations_outcome_usd_check CHECK ((outcome_usd >= (0)::numeric)),
  CONSTRAINT reservations_overrun_usd_check CHECK ((overrun_usd > (0)::numeric)),
  CONSTRAINT reservations_pkey PRIMARY KEY (tenant_id, operation_id),
  CONSTRAINT reservations_requested_usd_check CHECK ((requested_usd >= (0)::numeric)),
  CONSTRAINT reservations_resource_check CHECK (((resource ~ '^[a-z][a-z0-9_.-]{0,31}$'::text) AND (resource <> 'all'::text))) NOT VALID,
  CONSTRAINT reservations_settlement_check CHECK ((settlement = ANY (ARRAY['actual'::text, 'unverified'::text, 'released'::text, 'expired'::text]))),
  CONSTRAINT reservations_status_check CHECK ((status = ANY (ARRAY['granted'::text, 'denied'::text, 'rejected'::text, 'committed'::text, 'released'::text, 'expired'::text]))),
  CONSTRAINT reservations_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(tenant_id) ON DELETE CASCADE,
  CONSTRAINT reservations_unverified_outcome CHECK (((NOT outcome_unverified) OR (outcome = 'billed'::text))) NOT VALID
);

CREATE TABLE run_events (
  run_id uuid NOT NULL,
  tenant_id text NOT NULL,
  sequence integer NOT NULL,
  event_key text NOT NULL,
  type text NOT NULL,
  data jsonb NOT NULL,
  created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  CONSTRAINT run_events_pkey PRIMARY KEY (run_id, sequence),
  CONSTRAINT run_events_run_id_event_key_key UNIQUE (run_id, event_key),
  CONSTRAINT run_events_run_id_fkey FOREIGN KEY (run_id) REFERENCES runs(run_id) ON DELETE CASCADE,
  CONSTRAINT run_events_sequence_check CHECK ((sequence > 0)),
  CONSTRAINT run_events_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(tenant_id) ON DELETE CASCADE
);

CREATE TABLE run_files (
  run_id uuid NOT NULL,
  tenant_id text NOT NULL,
  name text NOT NULL,
  content bytea NOT NULL,
  CONSTRAINT run_files_content_check CHECK ((length(content) <= 20971520)),
  CONSTRAINT run_files_name_check CHECK ((((octet_length(name) >= 1) AND (octet_length(name) <= 255)) AND (name !~ '[/\\\u0001-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]'::text) AND (name <> ALL (ARRAY['.'::text, '..'::text])))),
  CONSTRAINT run_files_pkey PRIMARY KEY (run_id, name),
  CONSTRAINT run_files_run_id_fkey FOREIGN KEY (run_id) REFERENCES runs(run_id) ON DELETE CASCADE,
  CONSTRAINT run_files_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(tenant_id) ON DELETE CASCADE
);

CREATE TABLE run_limits (
  tenant_id text NOT NULL,
  run_id uuid NOT NULL,
  ancestor_ids uuid[] DEFAULT '{}'::uuid[] NOT NULL,
  limit_usd numeric(38,12),
  spent_usd numeric(38,12) DEFAULT 0 NOT NULL,
  reserved_usd numeric(38,12) DEFAULT 0 NOT NULL,
  created_at timestamp with time zone DEFAULT date_trunc('milliseconds'::text, clock_timestamp()) NOT NULL,
  used_on date DEFAULT CURRENT_DATE NOT NULL,
  CONSTRAINT run_limits_ancestor_ids_check CHECK ((cardinality(ancestor_ids) <= 7)),
  CONSTRAINT run_limits_limit_usd_check CHECK ((limit_usd >= (0)::numeric)),
  CONSTRAINT run_limits_pkey PRIMARY KEY (tenant_id, run_id),
  CONSTRAINT run_limits_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(tenant_id) ON DELETE CASCADE
);

CREATE TABLE runs (
  run_id uuid NOT NULL,
  tenant_id text NOT NULL,
  user_id text,
  workflow_id text NOT NULL,
  model text NOT NULL,
  task text NOT NULL,
  options jsonb DEFAULT '{}'::jsonb NOT NULL,
  status text DEFAULT 'running'::text NOT NULL,
  answer text,
  failure jsonb,
  created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  ended_at timestamp with time zone,
  seen_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  type text DEFAULT 'task'::text NOT NULL,
  waiting jsonb,
  transcript_forgotten_at timestamp with time zone,
  events_forgotten_at timestamp with time zone,
  namespace text,
  title text,
  labels jsonb,
  CONSTRAINT runs_check CHECK (((status = 'running'::text) = (ended_at IS NULL))),
  CONSTRAINT runs_pkey PRIMARY KEY (run_id),
  CONSTRAINT runs_status_check CHECK ((status = ANY (ARRAY['running'::text, 'completed'::text, 'quota_exceeded'::text, 'failed'::text, 'cancelled'::text]))),
  CONSTRAINT runs_task_check CHECK (((length(task) <= 100000) AND ((type = 'conversation'::text) = (task = ''::text)))),
  CONSTRAINT runs_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(tenant_id) ON DELETE CASCADE,
  CONSTRAINT runs_title_check CHECK (((length(title) >= 1) AND (length(title) <= 200))),
  CONSTRAINT runs_type_check CHECK ((type = ANY (ARRAY['task'::text, 'conversation'::text])))
);

CREATE TABLE sandbox_prices (
  price_version text NOT NULL,
  provider text NOT NULL,
  tier text NOT NULL,
  vcpu integer NOT NULL,
  memory_mib integer NOT NULL,
  effective_from timestamp with time zone NOT NULL,
  vcpu_second_usd numeric NOT NULL,
  gib_second_usd numeric NOT NULL,
  notes text DEFAULT ''::text NOT NULL,
  source text NOT NULL,
  source_date date NOT NULL,
  created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  CONSTRAINT sandbox_prices_check CHECK ((starts_with(price_version, (((provider || '/'::text) || tier) || '@'::text)) AND (length(price_version) <= 200))),
  CONSTRAINT sandbox_prices_effective_from_check CHECK (isfinite(effective_from)),
  CONSTRAINT sandbox_prices_gib_second_usd_check CHECK (((gib_second_usd >= (0)::numeric) AND (gib_second_usd < (1)::numeric) AND (min_scale(gib_second_usd) <= 12))),
  CONSTRAINT sandbox_prices_memory_mib_check CHECK (((memory_mib >= 1) AND (memory_mib <= 16777216))),
  CONSTRAINT sandbox_prices_notes_check CHECK ((length(notes) <= 1000)),
  CONSTRAINT sandbox_prices_pkey PRIMARY KEY (price_version),
  CONSTRAINT sandbox_prices_provider_check CHECK ((provider ~ '^[a-z][a-z0-9-]{0,39}$'::text)),
  CONSTRAINT sandbox_prices_provider_tier_effective_from_key UNIQUE (provider, tier, effective_from),
  CONSTRAINT sandbox_prices_source_check CHECK (((length(source) >= 1) AND (length(source) <= 500))),
  CONSTRAINT sandbox_prices_tier_check CHECK ((tier ~ '^[a-z][a-z0-9-]{0,39}$'::text)),
  CONSTRAINT sandbox_prices_vcpu_check CHECK (((vcpu >= 1) AND (vcpu <= 1024))),
  CONSTRAINT sandbox_prices_vcpu_second_usd_check CHECK (((vcpu_second_usd >= (0)::numeric) AND (vcpu_second_usd < (1)::numeric) AND (min_scale(vcpu_second_usd) <= 12)))
);

CREATE TABLE schema_functions (
  name text NOT NULL,
  checksum text NOT NULL,
  spendlock_version text NOT NULL,
  applied_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  CONSTRAINT schema_functions_pkey PRIMARY KEY (name)
);

CREATE TABLE tenants (
  tenant_id text NOT NULL,
  name text DEFAULT ''::text NOT NULL,
  created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  frozen_at timestamp with time zone,
  frozen_reason text,
  on_unavailable text DEFAULT 'wait'::text NOT NULL,
  answer_timeout_ms integer DEFAULT 5000 NOT NULL,
  deleted_at timestamp with time zone,
  CONSTRAINT tenants_answer_timeout_ms_check CHECK (((answer_timeout_ms >= 100) AND (answer_timeout_ms <= 600000))),
  CONSTRAINT tenants_check CHECK (((frozen_at IS NULL) = (frozen_reason IS NULL))),
  CONSTRAINT tenants_name_check CHECK ((length(name) <= 200)),
  CONSTRAINT tenants_on_unavailable_check CHECK ((on_unavailable = ANY (ARRAY['wait'::text, 'deny'::text, 'allow'::text]))),
  CONSTRAINT tenants_pkey PRIMARY KEY (tenant_id),
  CONSTRAINT tenants_tenant_id_check CHECK ((tenant_id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'::text))
);

CREATE TABLE tools (
  tenant_id text NOT NULL,
  name text NOT NULL,
  kind text NOT NULL,
  url text NOT NULL,
  method text NOT NULL,
  shown text NOT NULL,
  requires_approval boolean NOT NULL,
  price_usd numeric(38,12),
  timeout_seconds integer NOT NULL,
  result_bytes_max integer NOT NULL,
  credential_header text,
  sealed_credential text,
  created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  CONSTRAINT tools_check CHECK (((credential_header IS NULL) = (sealed_credential IS NULL))),
  CONSTRAINT tools_kind_check CHECK ((kind = ANY (ARRAY['http'::text, 'mcp'::text]))),
  CONSTRAINT tools_method_check CHECK ((method = ANY (ARRAY['GET'::text, 'POST'::text]))),
  CONSTRAINT tools_pkey PRIMARY KEY (tenant_id, name),
  CONSTRAINT tools_price_usd_check CHECK ((price_usd > (0)::numeric)),
  CONSTRAINT tools_result_bytes_max_check CHECK (((result_bytes_max >= 1) AND (result_bytes_max <= 1000000))),
  CONSTRAINT tools_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(tenant_id) ON DELETE CASCADE,
  CONSTRAINT tools_timeout_seconds_check CHECK (((timeout_seconds >= 1) AND (timeout_seconds <= 120)))
);

CREATE TABLE transcript_messages (
  run_id uuid NOT NULL,
  tenant_id text NOT NULL,
  sequence integer NOT NULL,
  role text NOT NULL,
  content jsonb NOT NULL,
  operation_id uuid,
  created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  CONSTRAINT transcript_messages_pkey PRIMARY KEY (run_id, sequence),
  CONSTRAINT transcript_messages_role_check CHECK ((role = ANY (ARRAY['user'::text, 'assistant'::text]))),
  CONSTRAINT transcript_messages_run_id_fkey FOREIGN KEY (run_id) REFERENCES runs(run_id) ON DELETE CASCADE,
  CONSTRAINT transcript_messages_sequence_check CHECK ((sequence >= 0)),
  CONSTRAINT transcript_messages_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(tenant_id) ON DELETE CASCADE
);

CREATE TABLE turns (
  turn_id uuid NOT NULL,
  run_id uuid NOT NULL,
  tenant_id text NOT NULL,
  number integer NOT NULL,
  message text NOT NULL,
  status text DEFAULT 'queued'::text NOT NULL,
  failure jsonb,
  opening_step integer,
  created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
  started_at timestamp with time zone,
  ended_at timestamp with time zone,
  CONSTRAINT turns_check CHECK (((status = ANY (ARRAY['queued'::text, 'running'::text])) = (ended_at IS NULL))),
  CONSTRAINT turns_message_check CHECK (((length(message) >= 1) AND (length(message) <= 100000))),
  CONSTRAINT turns_number_check CHECK ((number > 0)),
  CONSTRAINT turns_opening_step_check CHECK ((opening_step > 0)),
  CONSTRAINT turns_pkey PRIMARY KEY (turn_id),
  CONSTRAINT turns_run_id_fkey FOREIGN KEY (run_id) REFERENCES runs(run_id) ON DELETE CASCADE,
  CONSTRAINT turns_run_id_number_key UNIQUE (run_id, number),
  CONSTRAINT turns_status_check CHECK ((status = ANY (ARRAY['queued'::text, 'running'::text, 'completed'::text, 'quota_exceeded'::text, 'failed'::text, 'interrupted'::text, 'cancelled'::text]))),
  CONSTRAINT turns_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(tenant_id) ON DELETE CASCADE
);

CREATE TABLE user_quota_defaults (
  tenant_id text NOT NULL,
  resource_type text NOT NULL,
  period text NOT NULL,
  limit_usd numeric(38,12) NOT NULL,
  warning_threshold numeric(5,4) DEFAULT 0.80 NOT NULL,
  CONSTRAINT user_quota_defaults_limit_usd_check CHECK (((limit_usd >= (0)::numeric) AND (limit_usd < ('1000000000000'::bigint)::numeric))),
  CONSTRAINT user_quota_defaults_period_check CHECK ((period = ANY (ARRAY['day'::text, 'week'::text, 'month'::text, 'lifetime'::text]))),
  CONSTRAINT user_quota_defaults_pkey PRIMARY KEY (tenant_id, resource_type, period),
  CONSTRAINT user_quota_defaults_resource_type_check CHECK ((resource_type ~ '^[a-z][a-z0-9_.-]{0,31}$'::text)) NOT VALID,
  CONSTRAINT user_quota_defaults_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants(tenant_id) ON DELETE CASCADE,
  CONSTRAINT user_quota_defaults_warning_threshold_check CHECK (((warning_threshold > (0)::numeric) AND (warning_threshold <= (1)::numeric)))
);

-- Indexes that no constraint brings

CREATE INDEX approvals_pending ON copilot_internal.approvals USING btree (tenant_id, created_at) WHERE (status = 'pending'::text);

CREATE INDEX approvals_untold ON copilot_internal.approvals USING btree (decided_at) WHERE ((told_at IS NULL) AND (status = ANY (ARRAY['approved'::text, 'refused'::text, 'answered'::text])));

CREATE INDEX cost_quotas_leases ON copilot_internal.cost_quotas USING btree (lease_of) WHERE (lease_of IS NOT NULL);

CREATE INDEX cost_records_adjustments ON copilot_internal.cost_records USING btree (tenant_id, operation_id) WHERE (entry = 'adjustment'::text);

CREATE INDEX cost_records_by_run ON copilot_internal.cost_records USING btree (run_id) WHERE (run_id IS NOT NULL);

CREATE INDEX cost_records_by_tenant ON copilot_internal.cost_records USING btree (tenant_id, posted_at);

CREATE UNIQUE INDEX cost_records_once ON copilot_internal.cost_records USING btree (tenant_id, operation_id, entry) WHERE (entry <> 'adjustment'::text);

CREATE INDEX idempotent_requests_by_age ON copilot_internal.idempotent_requests USING btree (created_at);

CREATE UNIQUE INDEX idempotent_requests_once ON copilot_internal.idempotent_requests USING btree (tenant_id, idempotency_key) NULLS NOT DISTINCT WHERE (seed IS NOT NULL);

CREATE INDEX money_requests_of_run ON copilot_internal.money_requests USING btree (run_id);

CREATE INDEX money_requests_of_waiter ON copilot_internal.money_requests USING btree (waiter_id, created_at);

CREATE INDEX money_requests_of_workflow ON copilot_internal.money_requests USING btree (tenant_id, workflow_id, created_at);

CREATE INDEX money_requests_open ON copilot_internal.money_requests USING btree (tenant_id, created_at) WHERE (status = 'pending'::text);

CREATE UNIQUE INDEX money_requests_pending ON copilot_internal.money_requests USING btree (waiter_id) WHERE (status = 'pending'::text);

CREATE INDEX money_waiters_in_order ON copilot_internal.money_waiters USING btree (tenant_id, waiting_since);

CREATE INDEX money_waiters_kept ON copilot_internal.money_waiters USING btree (tenant_id) WHERE (kept_until IS NOT NULL);

CREATE INDEX quota_alerts_due ON copilot_internal.quota_alerts USING btree (next_try_at, raised_at) WHERE (sent_at IS NULL);

CREATE INDEX quota_alerts_unsent ON copilot_internal.quota_alerts USING btree (tenant_id) WHERE (sent_at IS NULL);

CREATE INDEX reservations_by_run ON copilot_internal.reservations USING btree (run_id, decided_at) WHERE (run_id IS NOT NULL);

CREATE INDEX reservations_open ON copilot_internal.reservations USING btree (tenant_id, expires_at) WHERE (status = 'granted'::text);

CREATE INDEX reservations_refused ON copilot_internal.reservations USING btree (tenant_id, decided_at DESC) WHERE (status = ANY (ARRAY['denied'::text, 'rejected'::text]));

CREATE INDEX reservations_sandboxes ON copilot_internal.reservations USING btree (kind) WHERE ((status = 'granted'::text) AND (outcome IS NULL) AND (kind ~~ 'sandbox.%'::text));

CREATE INDEX reservations_unfolded ON copilot_internal.reservations USING btree (tenant_id, outcome_at) WHERE ((outcome IS NOT NULL) AND (NOT outcome_folded));

CREATE INDEX reservations_unverified ON copilot_internal.reservations USING btree (tenant_id, ended_at) WHERE (settlement = 'unverified'::text);

CREATE INDEX reservations_unverified_outcomes ON copilot_internal.reservations USING btree (tenant_id, ended_at) WHERE outcome_unverified;

CREATE INDEX run_limits_ancestors ON copilot_internal.run_limits USING gin (ancestor_ids);

CREATE INDEX run_limits_used ON copilot_internal.run_limits USING btree (used_on);

CREATE INDEX runs_by_namespace ON copilot_internal.runs USING btree (namespace) WHERE (namespace IS NOT NULL);

CREATE INDEX runs_by_status ON copilot_internal.runs USING btree (tenant_id, status, created_at DESC);

CREATE INDEX runs_by_tenant ON copilot_internal.runs USING btree (tenant_id, created_at DESC);

CREATE INDEX runs_unseen ON copilot_internal.runs USING btree (seen_at) WHERE (status = 'running'::text);

CREATE INDEX runs_with_events ON copilot_internal.runs USING btree (ended_at) WHERE ((ended_at IS NOT NULL) AND (events_forgotten_at IS NULL));

CREATE INDEX runs_with_transcript ON copilot_internal.runs USING btree (ended_at) WHERE ((ended_at IS NOT NULL) AND (transcript_forgotten_at IS NULL));

CREATE INDEX turns_queued ON copilot_internal.turns USING btree (run_id, number) WHERE (status = 'queued'::text);

CREATE UNIQUE INDEX turns_running ON copilot_internal.turns USING btree (run_id) WHERE (status = 'running'::text);

-- Row security

ALTER TABLE api_keys FORCE ROW LEVEL SECURITY;

CREATE POLICY administration_keys ON api_keys FOR ALL TO spendlock_app USING (((tenant_id IS NULL) AND (COALESCE(current_setting('spendlock.tenant_id'::text, true), ''::text) = ''::text))) WITH CHECK (((tenant_id IS NULL) AND (COALESCE(current_setting('spendlock.tenant_id'::text, true), ''::text) = ''::text)));

CREATE POLICY one_tenant ON api_keys FOR ALL TO spendlock_app USING ((tenant_id = current_setting('spendlock.tenant_id'::text, true)));

CREATE POLICY owner_sees_all ON api_keys FOR ALL TO spendlock_owner USING (true);

ALTER TABLE approvals FORCE ROW LEVEL SECURITY;

CREATE POLICY one_tenant ON approvals FOR ALL TO spendlock_app USING ((tenant_id = current_setting('spendlock.tenant_id'::text, true)));

CREATE POLICY owner_sees_all ON approvals FOR ALL TO spendlock_owner USING (true);

ALTER TABLE audit_entries FORCE ROW LEVEL SECURITY;

CREATE POLICY administration_audit ON audit_entries FOR ALL TO spendlock_app USING (((tenant_id IS NULL) AND (COALESCE(current_setting('spendlock.tenant_id'::text, true), ''::text) = ''::text))) WITH CHECK (((tenant_id IS NULL) AND (COALESCE(current_setting('spendlock.tenant_id'::text, true), ''::text) = ''::text)));

CREATE POLICY one_tenant ON audit_entries FOR ALL TO spendlock_app USING ((tenant_id = current_setting('spendlock.tenant_id'::text, true)));

CREATE POLICY owner_sees_all ON audit_entries FOR ALL TO spendlock_owner USING (true);

ALTER TABLE context_compactions FORCE ROW LEVEL SECURITY;

CREATE POLICY one_tenant ON context_compactions FOR ALL TO spendlock_app USING ((tenant_id = current_setting('spendlock.tenant_id'::text, true)));

CREATE POLICY owner_sees_all ON context_compactions FOR ALL TO spendlock_owner USING (true);

ALTER TABLE cost_quotas FORCE ROW LEVEL SECURITY;

CREATE POLICY one_tenant ON cost_quotas FOR ALL TO spendlock_app USING (((tenant_id || ''::text) = current_setting('spendlock.tenant_id'::text, true)));

CREATE POLICY owner_sees_all ON cost_quotas FOR ALL TO spendlock_owner USING (true);

CREATE POLICY platform_quotas ON cost_quotas FOR SELECT TO spendlock_app USING ((tenant_id IS NULL));

CREATE POLICY who_knows_labels ON cost_quotas FOR ALL TO spendlock_app USING (((scope <> 'label'::text) OR (current_setting('spendlock.label_quotas'::text, true) = 'on'::text)));

CREATE POLICY who_knows_shadows ON cost_quotas FOR ALL TO spendlock_app USING (((scope <> ALL (ARRAY['shadow_tenant'::text, 'shadow_user'::text, 'shadow_label'::text])) OR (current_setting('spendlock.shadow_quotas'::text, true) = 'on'::text)));

ALTER TABLE cost_records FORCE ROW LEVEL SECURITY;

CREATE POLICY one_tenant ON cost_records FOR ALL TO spendlock_app USING ((tenant_id = current_setting('spendlock.tenant_id'::text, true)));

CREATE POLICY owner_sees_all ON cost_records FOR ALL TO spendlock_owner USING (true);

ALTER TABLE daily_costs FORCE ROW LEVEL SECURITY;

CREATE POLICY one_tenant ON daily_costs FOR ALL TO spendlock_app USING ((tenant_id = current_setting('spendlock.tenant_id'::text, true)));

CREATE POLICY owner_sees_all ON daily_costs FOR ALL TO spendlock_owner USING (true);

ALTER TABLE daily_label_costs FORCE ROW LEVEL SECURITY;

CREATE POLICY one_tenant ON daily_label_costs FOR ALL TO spendlock_app USING ((tenant_id = current_setting('spendlock.tenant_id'::text, true)));

CREATE POLICY owner_sees_all ON daily_label_costs FOR ALL TO spendlock_owner USING (true);

ALTER TABLE daily_label_sets FORCE ROW LEVEL SECURITY;

CREATE POLICY one_tenant ON daily_label_sets FOR ALL TO spendlock_app USING ((tenant_id = current_setting('spendlock.tenant_id'::text, true)));

CREATE POLICY owner_sees_all ON daily_label_sets FOR ALL TO spendlock_owner USING (true);

ALTER TABLE frozen_users FORCE ROW LEVEL SECURITY;

CREATE POLICY one_tenant ON frozen_users FOR ALL TO spendlock_app USING ((tenant_id = current_setting('spendlock.tenant_id'::text, true)));

CREATE POLICY owner_sees_all ON frozen_users FOR ALL TO spendlock_owner USING (true);

ALTER TABLE idempotent_requests FORCE ROW LEVEL SECURITY;

CREATE POLICY administration_answers ON idempotent_requests FOR ALL TO spendlock_app USING (((tenant_id IS NULL) AND (COALESCE(current_setting('spendlock.tenant_id'::text, true), ''::text) = ''::text))) WITH CHECK (((tenant_id IS NULL) AND (COALESCE(current_setting('spendlock.tenant_id'::text, true), ''::text) = ''::text)));

CREATE POLICY one_tenant ON idempotent_requests FOR ALL TO spendlock_app USING ((tenant_id = current_setting('spendlock.tenant_id'::text, true)));

CREATE POLICY owner_sees_all ON idempotent_requests FOR ALL TO spendlock_owner USING (true);

ALTER TABLE label_quota_defaults FORCE ROW LEVEL SECURITY;

CREATE POLICY one_tenant ON label_quota_defaults FOR ALL TO spendlock_app USING ((tenant_id = current_setting('spendlock.tenant_id'::text, true)));

CREATE POLICY owner_sees_all ON label_quota_defaults FOR ALL TO spendlock_owner USING (true);

ALTER TABLE label_values FORCE ROW LEVEL SECURITY;

CREATE POLICY one_tenant ON label_values FOR ALL TO spendlock_app USING ((tenant_id = current_setting('spendlock.tenant_id'::text, true)));

CREATE POLICY owner_sees_all ON label_values FOR ALL TO spendlock_owner USING (true);

ALTER TABLE limit_changes FORCE ROW LEVEL SECURITY;

CREATE POLICY one_tenant ON limit_changes FOR ALL TO spendlock_app USING ((tenant_id = current_setting('spendlock.tenant_id'::text, true)));

CREATE POLICY owner_sees_all ON limit_changes FOR ALL TO spendlock_owner USING (true);

ALTER TABLE mandates FORCE ROW LEVEL SECURITY;

CREATE POLICY one_tenant ON mandates FOR ALL TO spendlock_app USING ((tenant_id = current_setting('spendlock.tenant_id'::text, true)));

CREATE POLICY owner_sees_all ON mandates FOR ALL TO spendlock_owner USING (true);

ALTER TABLE money_requests FORCE ROW LEVEL SECURITY;

CREATE POLICY one_tenant ON money_requests FOR ALL TO spendlock_app USING ((tenant_id = current_setting('spendlock.tenant_id'::text, true)));

CREATE POLICY owner_sees_all ON money_requests FOR ALL TO spendlock_owner USING (true);

ALTER TABLE money_waiters FORCE ROW LEVEL SECURITY;

CREATE POLICY one_tenant ON money_waiters FOR ALL TO spendlock_app USING ((tenant_id = current_setting('spendlock.tenant_id'::text, true)));

CREATE POLICY owner_sees_all ON money_waiters FOR ALL TO spendlock_owner USING (true);

ALTER TABLE quota_alerts FORCE ROW LEVEL SECURITY;

CREATE POLICY one_tenant ON quota_alerts FOR ALL TO spendlock_app USING ((tenant_id = current_setting('spendlock.tenant_id'::text, true)));

CREATE POLICY owner_sees_all ON quota_alerts FOR ALL TO spendlock_owner USING (true);

CREATE POLICY platform_alerts ON quota_alerts FOR ALL TO spendlock_app USING ((tenant_id IS NULL)) WITH CHECK ((tenant_id IS NULL));

ALTER TABLE reply_deltas FORCE ROW LEVEL SECURITY;

CREATE POLICY one_tenant ON reply_deltas FOR ALL TO spendlock_app USING ((tenant_id = current_setting('spendlock.tenant_id'::text, true)));

CREATE POLICY owner_sees_all ON reply_deltas FOR ALL TO spendlock_owner USING (true);

ALTER TABLE reservations FORCE ROW LEVEL SECURITY;

CREATE POLICY one_tenant ON reservations FOR ALL TO spendlock_app USING ((tenant_id = current_setting('spendlock.tenant_id'::text, true)));

CREATE POLICY owner_sees_all ON reservations FOR ALL TO spendlock_owner USING (true);

ALTER TABLE run_events FORCE ROW LEVEL SECURITY;

CREATE POLICY one_tenant ON run_events FOR ALL TO spendlock_app USING ((tenant_id = current_setting('spendlock.tenant_id'::text, true)));

CREATE POLICY owner_sees_all ON run_events FOR ALL TO spendlock_owner USING (true);

ALTER TABLE run_files FORCE ROW LEVEL SECURITY;

CREATE POLICY one_tenant ON run_files FOR ALL TO spendlock_app USING ((tenant_id = current_setting('spendlock.tenant_id'::text, true)));

CREATE POLICY owner_sees_all ON run_files FOR ALL TO spendlock_owner USING (true);

ALTER TABLE run_limits FORCE ROW LEVEL SECURITY;

CREATE POLICY one_tenant ON run_limits FOR ALL TO spendlock_app USING ((tenant_id = current_setting('spendlock.tenant_id'::text, true)));

CREATE POLICY owner_sees_all ON run_limits FOR ALL TO spendlock_owner USING (true);

ALTER TABLE runs FORCE ROW LEVEL SECURITY;

CREATE POLICY one_tenant ON runs FOR ALL TO spendlock_app USING ((tenant_id = current_setting('spendlock.tenant_id'::text, true)));

CREATE POLICY owner_sees_all ON runs FOR ALL TO spendlock_owner USING (true);

ALTER TABLE tenants FORCE ROW LEVEL SECURITY;

CREATE POLICY one_tenant ON tenants FOR ALL TO spendlock_app USING ((tenant_id = current_setting('spendlock.tenant_id'::text, true)));

CREATE POLICY owner_sees_all ON tenants FOR ALL TO spendlock_owner USING (true);

ALTER TABLE tools FORCE ROW LEVEL SECURITY;

CREATE POLICY one_tenant ON tools FOR ALL TO spendlock_app USING ((tenant_id = current_setting('spendlock.tenant_id'::text, true)));

CREATE POLICY owner_sees_all ON tools FOR ALL TO spendlock_owner USING (true);

ALTER TABLE transcript_messages FORCE ROW LEVEL SECURITY;

CREATE POLICY one_tenant ON transcript_messages FOR ALL TO spendlock_app USING ((tenant_id = current_setting('spendlock.tenant_id'::text, true)));

CREATE POLICY owner_sees_all ON transcript_messages FOR ALL TO spendlock_owner USING (true);

ALTER TABLE turns FORCE ROW LEVEL SECURITY;

CREATE POLICY one_tenant ON turns FOR ALL TO spendlock_app USING ((tenant_id = current_setting('spendlock.tenant_id'::text, true)));

CREATE POLICY owner_sees_all ON turns FOR ALL TO spendlock_owner USING (true);

ALTER TABLE user_quota_defaults FORCE ROW LEVEL SECURITY;

CREATE POLICY one_tenant ON user_quota_defaults FOR ALL TO spendlock_app USING ((tenant_id = current_setting('spendlock.tenant_id'::text, true)));

CREATE POLICY owner_sees_all ON user_quota_defaults FOR ALL TO spendlock_owner USING (true);

-- Triggers

CREATE TRIGGER key_changed AFTER DELETE OR UPDATE OF revoked_at ON copilot_internal.api_keys FOR EACH ROW EXECUTE FUNCTION tell_key_changed();

CREATE TRIGGER changed_limit AFTER UPDATE OF limit_usd, topup_usd ON copilot_internal.cost_quotas FOR EACH ROW WHEN (((new.scope = ANY (ARRAY['tenant'::text, 'user'::text, 'label'::text])) AND ((new.limit_usd <> old.limit_usd) OR (new.topup_usd > old.topup_usd)))) EXECUTE FUNCTION note_limit_change();

CREATE TRIGGER changed_platform_quota AFTER UPDATE OF limit_usd, topup_usd ON copilot_internal.cost_quotas FOR EACH ROW WHEN ((new.tenant_id IS NULL)) EXECUTE FUNCTION follow_platform_quota();

CREATE TRIGGER changed_topup BEFORE UPDATE ON copilot_internal.cost_quotas FOR EACH ROW WHEN ((new.topup_kept_usd > (0)::numeric)) EXECUTE FUNCTION take_back_topup();

CREATE TRIGGER new_limit AFTER INSERT ON copilot_internal.cost_quotas FOR EACH ROW WHEN ((new.scope = ANY (ARRAY['tenant'::text, 'user'::text, 'label'::text]))) EXECUTE FUNCTION note_limit_change();

CREATE TRIGGER new_platform_quota AFTER INSERT ON copilot_internal.cost_quotas FOR EACH ROW WHEN ((new.tenant_id IS NULL)) EXECUTE FUNCTION follow_platform_quota();

CREATE TRIGGER removed_limit AFTER DELETE ON copilot_internal.cost_quotas FOR EACH ROW WHEN ((old.scope = ANY (ARRAY['tenant'::text, 'user'::text, 'label'::text]))) EXECUTE FUNCTION note_limit_change();

CREATE TRIGGER costs_by_day AFTER INSERT ON copilot_internal.cost_records REFERENCING NEW TABLE AS recorded FOR EACH STATEMENT EXECUTE FUNCTION sum_costs_by_day();

CREATE TRIGGER unverified_costs BEFORE INSERT ON copilot_internal.cost_records FOR EACH ROW WHEN (((new.settlement = 'unverified'::text) OR (new.entry <> 'commit'::text))) EXECUTE FUNCTION count_unverified();

CREATE TRIGGER keep_no_key BEFORE INSERT OR UPDATE ON copilot_internal.idempotent_requests FOR EACH ROW EXECUTE FUNCTION keep_no_key();

CREATE TRIGGER refuse_price_change BEFORE DELETE OR UPDATE OR TRUNCATE ON copilot_internal.model_prices FOR EACH STATEMENT EXECUTE FUNCTION refuse_price_change();

CREATE TRIGGER withdraw_money_requests AFTER DELETE ON copilot_internal.money_waiters FOR EACH ROW EXECUTE FUNCTION withdraw_money_requests();

CREATE TRIGGER refuse_reservation_change BEFORE UPDATE ON copilot_internal.reservations FOR EACH ROW WHEN (((CURRENT_USER = 'spendlock_app'::name) AND (NOT ((NOT ((((((((((((((new.tenant_id IS DISTINCT FROM old.tenant_id) OR (new.operation_id IS DISTINCT FROM old.operation_id)) OR (new.user_id IS DISTINCT FROM old.user_id)) OR (new.run_id IS DISTINCT FROM old.run_id)) OR (new.resource IS DISTINCT FROM old.resource)) OR (new.requested_usd IS DISTINCT FROM old.requested_usd)) OR (new.minimum_usd IS DISTINCT FROM old.minimum_usd)) OR (new.unreserved IS DISTINCT FROM old.unreserved)) OR (new.allowed_usd IS DISTINCT FROM old.allowed_usd)) OR (new.limit_ids IS DISTINCT FROM old.limit_ids)) OR (new.decided_at IS DISTINCT FROM old.decided_at)) OR (new.parent_id IS DISTINCT FROM old.parent_id)) OR (new.held_on IS DISTINCT FROM old.held_on)) OR (new.envelope_usd IS DISTINCT FROM old.envelope_usd))) AND ((NOT (new.granted_usd IS DISTINCT FROM old.granted_usd)) OR (((old.status = 'granted'::text) AND (new.granted_usd <= old.envelope_usd)) IS TRUE)) AND ((old.status = 'granted'::text) OR (NOT (new.returned_usd IS DISTINCT FROM old.returned_usd))) AND ((new.status = old.status) OR ((old.status = 'granted'::text) AND (new.status = ANY (ARRAY['committed'::text, 'released'::text, 'expired'::text])))) AND ((old.ended_at IS NULL) OR (NOT (new.ended_at IS DISTINCT FROM old.ended_at))) AND ((new.ended_at IS NULL) = (new.status = ANY (ARRAY['granted'::text, 'denied'::text, 'rejected'::text]))) AND ((old.posted_at IS NULL) OR (NOT (new.posted_at IS DISTINCT FROM old.posted_at))) AND ((old.status <> 'granted'::text) OR (new.status <> 'granted'::text) OR (new.expires_at >= old.expires_at)) AND ((NOT (old.settlement IS DISTINCT FROM new.settlement)) OR (old.settlement IS NULL) OR ((old.settlement = 'unverified'::text) AND (new.settlement = 'actual'::text))) AND ((NOT ((new.outcome IS DISTINCT FROM old.outcome) OR (new.outcome_usd IS DISTINCT FROM old.outcome_usd))) OR (old.outcome IS NULL) OR ((old.outcome = 'not_billed'::text) AND (new.outcome = 'billed'::text))) AND ((NOT new.outcome_folded) OR (new.outcome IS NOT NULL)) AND (new.outcome_folded OR (NOT old.outcome_folded) OR (new.outcome IS DISTINCT FROM old.outcome)))))) EXECUTE FUNCTION refuse_reservation_change();

CREATE TRIGGER refuse_price_change BEFORE DELETE OR UPDATE OR TRUNCATE ON copilot_internal.sandbox_prices FOR EACH STATEMENT EXECUTE FUNCTION refuse_price_change();

CREATE TRIGGER initialize_tenant_quotas AFTER INSERT ON copilot_internal.tenants FOR EACH ROW EXECUTE FUNCTION initialize_tenant_quotas();

-- What the application role may do

GRANT EXECUTE ON FUNCTION add_label_quotas(text,jsonb[]) TO spendlock_app;

GRANT EXECUTE ON FUNCTION add_leases(text[]) TO spendlock_app;

GRANT EXECUTE ON FUNCTION add_model_prices(jsonb,uuid,text) TO spendlock_app;

GRANT EXECUTE ON FUNCTION add_run_limits(text,jsonb) TO spendlock_app;

GRANT EXECUTE ON FUNCTION add_sandbox_price(jsonb,uuid,text) TO spendlock_app;

GRANT EXECUTE ON FUNCTION add_turn(uuid,uuid,text) TO spendlock_app;

GRANT EXECUTE ON FUNCTION add_user_quotas(text,text[]) TO spendlock_app;

GRANT EXECUTE ON FUNCTION adjust_cost(text,uuid,numeric,text,text) TO spendlock_app;

GRANT EXECUTE ON FUNCTION allow_unreserved(text,jsonb) TO spendlock_app;

GRANT EXECUTE ON FUNCTION append_run_event(uuid,text,text,jsonb) TO spendlock_app;

GRANT EXECUTE ON FUNCTION apply_label_quotas(text,jsonb,jsonb,boolean) TO spendlock_app;

GRANT EXECUTE ON FUNCTION apply_quota_changes(text,jsonb) TO spendlock_app;

GRANT EXECUTE ON FUNCTION apply_run_limits(text,jsonb,jsonb) TO spendlock_app;

GRANT EXECUTE ON FUNCTION are_price_multipliers(jsonb) TO spendlock_app;

GRANT EXECUTE ON FUNCTION are_too_many_resources(text,integer) TO spendlock_app;

GRANT EXECUTE ON FUNCTION bar_mandate(text,text) TO spendlock_app;

GRANT EXECUTE ON FUNCTION billed_as(text,text,text) TO spendlock_app;

GRANT EXECUTE ON FUNCTION cache_saved(jsonb) TO spendlock_app;

GRANT EXECUTE ON FUNCTION check_and_record_quota_atomic(text,jsonb) TO spendlock_app;

GRANT EXECUTE ON FUNCTION check_envelopes(text,jsonb,jsonb) TO spendlock_app;

GRANT EXECUTE ON FUNCTION claim_reservation(text,uuid,uuid) TO spendlock_app;

GRANT EXECUTE ON FUNCTION costs_of(text,uuid) TO spendlock_app;

GRANT EXECUTE ON FUNCTION count_running_sandboxes() TO spendlock_app;

GRANT EXECUTE ON FUNCTION counted_labels(text,jsonb) TO spendlock_app;

GRANT EXECUTE ON FUNCTION current_quota(cost_quotas) TO spendlock_app;

GRANT EXECUTE ON FUNCTION delete_tenant(text,uuid,text,text) TO spendlock_app;

GRANT EXECUTE ON FUNCTION draw_lease(text,jsonb) TO spendlock_app;

GRANT EXECUTE ON FUNCTION ends_of_api_keys(uuid[]) TO spendlock_app;

GRANT EXECUTE ON FUNCTION extend_reservation(text,uuid,numeric) TO spendlock_app;

GRANT EXECUTE ON FUNCTION find_api_key(bytea) TO spendlock_app;

GRANT EXECUTE ON FUNCTION find_caller(bytea) TO spendlock_app;

GRANT EXECUTE ON FUNCTION find_key_owner(bytea) TO spendlock_app;

GRANT EXECUTE ON FUNCTION forget_events(timestamp with time zone,integer) TO spendlock_app;

GRANT EXECUTE ON FUNCTION forget_leftovers(timestamp with time zone,integer) TO spendlock_app;

GRANT EXECUTE ON FUNCTION forget_transcripts(timestamp with time zone,integer) TO spendlock_app;

GRANT EXECUTE ON FUNCTION has_label_quotas(text) TO spendlock_app;

GRANT EXECUTE ON FUNCTION hold_api_key(uuid) TO spendlock_app;

GRANT EXECUTE ON FUNCTION is_mandated(text,text) TO spendlock_app;

GRANT EXECUTE ON FUNCTION is_released_by_expiry(reservations) TO spendlock_app;

GRANT EXECUTE ON FUNCTION label_quotas_wrong(text) TO spendlock_app;

GRANT EXECUTE ON FUNCTION label_scopes(text,jsonb[]) TO spendlock_app;

GRANT EXECUTE ON FUNCTION label_sets_max() TO spendlock_app;

GRANT EXECUTE ON FUNCTION label_spend(text,text,text[],bigint) TO spendlock_app;

GRANT EXECUTE ON FUNCTION label_sums_wrong(text,date[]) TO spendlock_app;

GRANT EXECUTE ON FUNCTION label_values_max() TO spendlock_app;

GRANT EXECUTE ON FUNCTION lease_sums() TO spendlock_app;

GRANT EXECUTE ON FUNCTION ledger_mark(text) TO spendlock_app;

GRANT EXECUTE ON FUNCTION limit_of_call(text,text,text) TO spendlock_app;

GRANT EXECUTE ON FUNCTION list_platform_quotas() TO spendlock_app;

GRANT EXECUTE ON FUNCTION list_tenants() TO spendlock_app;

GRANT EXECUTE ON FUNCTION load_budget_batch(text,uuid[],text[],integer) TO spendlock_app;

GRANT EXECUTE ON FUNCTION lock_payers(text,text[]) TO spendlock_app;

GRANT EXECUTE ON FUNCTION lock_quotas(text,text[]) TO spendlock_app;

GRANT EXECUTE ON FUNCTION lock_run_limits(text,jsonb,uuid[]) TO spendlock_app;

GRANT EXECUTE ON FUNCTION lock_tenant(text) TO spendlock_app;

GRANT EXECUTE ON FUNCTION look_after(integer) TO spendlock_app;

GRANT EXECUTE ON FUNCTION mandate_state(text,text) TO spendlock_app;

GRANT EXECUTE ON FUNCTION mandate_states(text,integer) TO spendlock_app;

GRANT EXECUTE ON FUNCTION move_quotas(jsonb) TO spendlock_app;

GRANT EXECUTE ON FUNCTION note_label_values(text,jsonb[]) TO spendlock_app;

GRANT EXECUTE ON FUNCTION other_labels(jsonb) TO spendlock_app;

GRANT EXECUTE ON FUNCTION period_bounds(text,timestamp with time zone) TO spendlock_app;

GRANT EXECUTE ON FUNCTION quota_gauges(integer) TO spendlock_app;

GRANT EXECUTE ON FUNCTION quotas_of(text,text[],text[]) TO spendlock_app;

GRANT EXECUTE ON FUNCTION record_budget_batch(text,jsonb) TO spendlock_app;

GRANT EXECUTE ON FUNCTION record_mandate(text,jsonb,jsonb,jsonb) TO spendlock_app;

GRANT EXECUTE ON FUNCTION record_outcome(text,uuid,uuid,text,numeric,jsonb,jsonb) TO spendlock_app;

GRANT EXECUTE ON FUNCTION record_outcome(text,uuid,uuid,text,numeric,jsonb,jsonb,boolean) TO spendlock_app;

GRANT EXECUTE ON FUNCTION record_outcomes(text,jsonb) TO spendlock_app;

GRANT EXECUTE ON FUNCTION remove_former_defaults(text) TO spendlock_app;

GRANT EXECUTE ON FUNCTION remove_former_label_defaults(text) TO spendlock_app;

GRANT EXECUTE ON FUNCTION remove_platform_quota(text,text) TO spendlock_app;

GRANT EXECUTE ON FUNCTION remove_quota(text,text,text,text,text) TO spendlock_app;

GRANT EXECUTE ON FUNCTION repair_books(text,uuid[],date[],uuid,text,text) TO spendlock_app;

GRANT EXECUTE ON FUNCTION reservation_as_json(reservations) TO spendlock_app;

GRANT EXECUTE ON FUNCTION reset_ended_periods(text,timestamp with time zone,text[]) TO spendlock_app;

GRANT EXECUTE ON FUNCTION reset_label_periods(text,timestamp with time zone,text[]) TO spendlock_app;

GRANT EXECUTE ON FUNCTION reset_quotas(uuid[],timestamp with time zone) TO spendlock_app;

GRANT EXECUTE ON FUNCTION return_leases(text) TO spendlock_app;

GRANT EXECUTE ON FUNCTION runs_left_holding(interval,integer) TO spendlock_app;

GRANT EXECUTE ON FUNCTION sandbox_owners(uuid[],uuid[]) TO spendlock_app;

GRANT EXECUTE ON FUNCTION seed_label_quotas(text,jsonb,jsonb,bigint) TO spendlock_app;

GRANT EXECUTE ON FUNCTION set_platform_quota(text,text,numeric,numeric,numeric[]) TO spendlock_app;

GRANT EXECUTE ON FUNCTION take_due_alerts(integer,interval) TO spendlock_app;

GRANT EXECUTE ON FUNCTION take_due_alerts(integer,interval,text[]) TO spendlock_app;

GRANT EXECUTE ON FUNCTION take_unseen_runs(interval,integer) TO spendlock_app;

GRANT EXECUTE ON FUNCTION take_unseen_runs(interval,integer,text) TO spendlock_app;

GRANT EXECUTE ON FUNCTION tell_also(text,uuid[],text[]) TO spendlock_app;

GRANT EXECUTE ON FUNCTION told_room(text,text,text) TO spendlock_app;

GRANT EXECUTE ON FUNCTION topups_at(cost_quotas,timestamp with time zone) TO spendlock_app;

GRANT EXECUTE ON FUNCTION unanswered_conversations(interval,integer) TO spendlock_app;

GRANT EXECUTE ON FUNCTION untold_decisions(interval,integer) TO spendlock_app;

GRANT EXECUTE ON FUNCTION untold_money_answers(interval,integer) TO spendlock_app;

GRANT INSERT, SELECT, UPDATE ON api_keys TO spendlock_app;

GRANT INSERT, SELECT, UPDATE ON approvals TO spendlock_app;

GRANT INSERT, SELECT ON audit_entries TO spendlock_app;

GRANT INSERT, SELECT ON context_compactions TO spendlock_app;

GRANT INSERT, SELECT, UPDATE ON cost_quotas TO spendlock_app;

GRANT INSERT, SELECT ON cost_records TO spendlock_app;

GRANT SELECT ON daily_costs TO spendlock_app;

GRANT SELECT ON daily_label_costs TO spendlock_app;

GRANT SELECT ON daily_label_sets TO spendlock_app;

GRANT DELETE, INSERT, SELECT, UPDATE ON frozen_users TO spendlock_app;

GRANT DELETE, INSERT, SELECT, UPDATE ON idempotent_requests TO spendlock_app;

GRANT SELECT ON installation TO spendlock_app;

GRANT DELETE, INSERT, SELECT, UPDATE ON label_quota_defaults TO spendlock_app;

GRANT INSERT, SELECT ON label_values TO spendlock_app;

GRANT SELECT ON limit_changes TO spendlock_app;

GRANT INSERT, SELECT, UPDATE ON mandates TO spendlock_app;

GRANT SELECT ON model_prices TO spendlock_app;

GRANT INSERT, SELECT, UPDATE ON money_requests TO spendlock_app;

GRANT DELETE, INSERT, SELECT, UPDATE ON money_waiters TO spendlock_app;

GRANT INSERT, SELECT, UPDATE ON quota_alerts TO spendlock_app;

GRANT DELETE, INSERT, SELECT ON reply_deltas TO spendlock_app;

GRANT INSERT, SELECT, UPDATE ON reservations TO spendlock_app;

GRANT INSERT, SELECT ON run_events TO spendlock_app;

GRANT INSERT, SELECT ON run_files TO spendlock_app;

GRANT INSERT, SELECT, UPDATE ON run_limits TO spendlock_app;

GRANT INSERT, SELECT, UPDATE ON runs TO spendlock_app;

GRANT SELECT ON sandbox_prices TO spendlock_app;

GRANT SELECT ON schema_functions TO spendlock_app;

GRANT SELECT ON schema_migrations TO spendlock_app;

GRANT INSERT, SELECT, UPDATE (answer_timeout_ms, frozen_at, frozen_reason, name, on_unavailable) ON tenants TO spendlock_app;

GRANT DELETE, INSERT, SELECT, UPDATE ON tools TO spendlock_app;

GRANT INSERT, SELECT ON transcript_messages TO spendlock_app;

GRANT INSERT, SELECT, UPDATE ON turns TO spendlock_app;

GRANT DELETE, INSERT, SELECT, UPDATE ON user_quota_defaults TO spendlock_app;

-- Functions

CREATE OR REPLACE FUNCTION copilot_internal.add_default_quotas(p_tenant_id text)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
DECLARE
  v_added integer;
BEGIN
  INSERT INTO cost_quotas (tenant_id, scope, scope_id, resource_type, period, limit_usd, warning_threshold,
                           period_start, period_end)
  SELECT p_tenant_id, 'tenant', p_tenant_id, d.resource_type, 'month', d.limit_usd, 0.80, b.period_start, b.period_end
  FROM (VALUES ('llm', 100), ('e2b', 50), ('all', 150)) AS d (resource_type, limit_usd),
       period_bounds('month', clock_timestamp()) AS b
  ON CONFLICT DO NOTHING;
  GET DIAGNOSTICS v_added = ROW_COUNT;
  RETURN v_added;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.add_label_quotas(p_tenant_id text, p_labels jsonb[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
DECLARE
  v_labels jsonb[] := ARRAY(SELECT l FROM unnest(p_labels) AS l WHERE jsonb_typeof(l) = 'object');
  v_fresh jsonb := (
    SELECT jsonb_agg(jsonb_build_object('key', s.key, 'value', s.value)) FROM label_scopes(p_tenant_id, v_labels) AS s
    WHERE s.value <> 'other' AND s.scope_id = s.key || ':' || s.value
      AND NOT EXISTS (SELECT FROM label_values v WHERE v.tenant_id = p_tenant_id AND v.key = s.key AND v.value = s.value)
      AND coalesce(
        (SELECT true FROM cost_quotas q WHERE q.tenant_id = p_tenant_id AND q.scope = 'label' AND q.scope_id = s.key || ':other' LIMIT 1),
        (SELECT true FROM cost_quotas q WHERE q.tenant_id = p_tenant_id AND q.scope = 'shadow_label' AND q.scope_id = s.key || ':other' LIMIT 1)));
BEGIN
  IF v_fresh IS NULL THEN
    RETURN;
  END IF;
  PERFORM note_label_values(p_tenant_id, ARRAY(
    SELECT jsonb_build_object(f.key, f.value) FROM jsonb_to_recordset(v_fresh) AS f (key text, value text)));
  INSERT INTO cost_quotas (tenant_id, scope, scope_id, resource_type, period, limit_usd, warning_threshold, from_default, period_start, period_end)
  SELECT d.tenant_id, 'label', v.key || ':' || v.value, d.resource_type, d.period, d.limit_usd, d.warning_threshold, true,
         b.period_start, b.period_end
  FROM jsonb_to_recordset(v_fresh) AS f (key text, value text)
  JOIN label_values v ON v.tenant_id = p_tenant_id AND v.key = f.key AND v.value = f.value
  JOIN label_quota_defaults d ON d.tenant_id = v.tenant_id AND d.key = v.key
  CROSS JOIN LATERAL period_bounds(d.period, clock_timestamp()) AS b
  ON CONFLICT DO NOTHING;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.add_leases(p_tenant_ids text[])
 RETURNS void
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
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
            WHERE r.tenant_id = t.tenant_id AND (p.resource_type IN ('all', r.resource) OR p.resource_type = ANY (r.held_on))
              AND r.status = 'granted') AS reserved
  ) AS h
  WHERE p.tenant_id IS NULL
    AND NOT EXISTS (SELECT FROM cost_quotas l WHERE l.tenant_id = t.tenant_id AND l.lease_of = p.quota_id)
  ON CONFLICT DO NOTHING
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.add_model_prices(p_prices jsonb, p_api_key_id uuid, p_author text)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
BEGIN
  INSERT INTO model_prices (
    price_version, provider, model, effective_from,
    input_usd_per_mtok, output_usd_per_mtok, cache_read_usd_per_mtok, cache_write_5m_usd_per_mtok, cache_write_1h_usd_per_mtok,
    long_context_threshold_tokens, long_context_input_usd_per_mtok, long_context_output_usd_per_mtok,
    long_context_cache_read_usd_per_mtok, long_context_cache_write_5m_usd_per_mtok, long_context_cache_write_1h_usd_per_mtok,
    web_search_usd_per_thousand, multipliers, notes, source, source_date)
  SELECT
    p.price_version, p.provider, p.model, p.effective_from,
    p.input_usd_per_mtok, p.output_usd_per_mtok, p.cache_read_usd_per_mtok, p.cache_write_5m_usd_per_mtok, p.cache_write_1h_usd_per_mtok,
    p.long_context_threshold_tokens, p.long_context_input_usd_per_mtok, p.long_context_output_usd_per_mtok,
    p.long_context_cache_read_usd_per_mtok, p.long_context_cache_write_5m_usd_per_mtok, p.long_context_cache_write_1h_usd_per_mtok,
    p.web_search_usd_per_thousand, coalesce(p.multipliers, '{}'), coalesce(p.notes, ''), p.source, p.source_date
  FROM jsonb_populate_recordset(NULL::model_prices, p_prices) AS p;
  INSERT INTO audit_entries (api_key_id, author, action, details)
  VALUES (p_api_key_id, p_author, 'add_prices', (
    SELECT jsonb_build_object('priceVersions', jsonb_agg(p ->> 'price_version')) FROM jsonb_array_elements(p_prices) AS p));
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.add_run_limits(p_tenant_id text, p_asked jsonb)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
BEGIN
  -- Each round adds what belongs to what the one before added.
  WHILE jsonb_array_length(p_asked) > 0 LOOP
    INSERT INTO run_limits (tenant_id, run_id, ancestor_ids, limit_usd)
    SELECT p_tenant_id, a.id, CASE WHEN a."parentId" IS NULL THEN '{}' ELSE p.run_id || p.ancestor_ids END, a."limitUsd"
    FROM ROWS FROM (jsonb_to_recordset(p_asked) AS (id uuid, "limitUsd" numeric, "parentId" uuid))
      WITH ORDINALITY AS a (id, "limitUsd", "parentId", place)
    LEFT JOIN run_limits p ON p.tenant_id = p_tenant_id AND p.run_id = a."parentId"
    WHERE num_nonnulls(a."limitUsd", a."parentId") > 0
      AND NOT EXISTS (SELECT FROM run_limits l WHERE l.tenant_id = p_tenant_id AND l.run_id = a.id)
      AND (a."parentId" IS NULL OR (cardinality(p.ancestor_ids) < 7 AND NOT EXISTS (
        SELECT FROM runs r WHERE r.run_id = a."parentId" AND r.ended_at IS NOT NULL)))
    ORDER BY a.id, a.place
    ON CONFLICT DO NOTHING;
    EXIT WHEN NOT FOUND;
  END LOOP;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.add_sandbox_price(p_price jsonb, p_api_key_id uuid, p_author text)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
BEGIN
  INSERT INTO sandbox_prices (price_version, provider, tier, vcpu, memory_mib, effective_from, vcpu_second_usd, gib_second_usd,
    notes, source, source_date)
  SELECT p.price_version, p.provider, p.tier, p.vcpu, p.memory_mib, p.effective_from, p.vcpu_second_usd, p.gib_second_usd,
    coalesce(p.notes, ''), p.source, p.source_date
  FROM jsonb_populate_record(NULL::sandbox_prices, p_price) AS p;
  INSERT INTO audit_entries (api_key_id, author, action, details)
  VALUES (p_api_key_id, p_author, 'add_prices', jsonb_build_object('priceVersions', jsonb_build_array(p_price ->> 'price_version')));
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.add_turn(p_run_id uuid, p_turn_id uuid, p_message text)
 RETURNS TABLE(turn_id uuid, number integer, status text, after_sequence integer)
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
#variable_conflict use_column
DECLARE
  v_tenant_id text;
BEGIN
  SELECT r.tenant_id INTO v_tenant_id FROM runs r
  WHERE r.run_id = p_run_id AND r.type = 'conversation' AND r.status = 'running' FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  INSERT INTO turns (turn_id, run_id, tenant_id, number, message)
  SELECT p_turn_id, p_run_id, v_tenant_id, coalesce(max(t.number), 0) + 1, p_message FROM turns t WHERE t.run_id = p_run_id
  ON CONFLICT (turn_id) DO NOTHING;
  RETURN QUERY
    SELECT t.turn_id, t.number, t.status,
           (SELECT coalesce(max(e.sequence), 0) FROM run_events e WHERE e.run_id = p_run_id AND e.created_at < t.created_at)
    FROM turns t WHERE t.turn_id = p_turn_id AND t.run_id = p_run_id;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.add_user_quotas(p_tenant_id text, p_user_ids text[])
 RETURNS void
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  INSERT INTO cost_quotas (tenant_id, scope, scope_id, resource_type, period, limit_usd, warning_threshold, from_default,
                           period_start, period_end, current_spend_usd, reserved_usd)
  SELECT d.tenant_id, 'user', u.user_id, d.resource_type, d.period, d.limit_usd, d.warning_threshold, true,
         b.period_start, b.period_end,
         (SELECT coalesce(sum(amount_usd), 0) FROM cost_records c
          WHERE c.tenant_id = d.tenant_id AND c.user_id = u.user_id AND d.resource_type IN ('all', c.resource)
            AND c.posted_at >= b.period_start AND c.posted_at < b.period_end),
         (SELECT coalesce(sum(granted_usd), 0) FROM reservations r
          WHERE r.tenant_id = d.tenant_id AND r.user_id = u.user_id AND (d.resource_type IN ('all', r.resource) OR d.resource_type = ANY (r.held_on))
            AND r.status = 'granted')
  FROM user_quota_defaults d
  CROSS JOIN unnest(p_user_ids) AS u (user_id)
  CROSS JOIN LATERAL period_bounds(d.period, clock_timestamp()) AS b
  WHERE d.tenant_id = p_tenant_id AND NOT EXISTS (
    SELECT FROM cost_quotas q WHERE q.tenant_id = d.tenant_id AND q.scope = 'user' AND q.scope_id = u.user_id
      AND q.resource_type = d.resource_type AND q.period = d.period)
  ON CONFLICT DO NOTHING
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.adjust_cost(p_tenant_id text, p_operation_id uuid, p_cost_usd numeric, p_reason text, p_author text)
 RETURNS numeric
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
DECLARE
  v_row reservations;
  v_entry cost_records;
  v_difference numeric;
  v_unverified numeric;
BEGIN
  PERFORM lock_quotas(p_tenant_id, ARRAY(
    SELECT user_id FROM reservations WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id AND user_id IS NOT NULL));
  PERFORM reset_ended_periods(p_tenant_id, clock_timestamp(), ARRAY(
    SELECT user_id FROM reservations WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id AND user_id IS NOT NULL));
  SELECT * INTO v_row FROM reservations WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id FOR UPDATE;
  SELECT * INTO v_entry FROM costs_of(p_tenant_id, p_operation_id) ORDER BY cost_record_id LIMIT 1;
  IF v_row IS NULL OR v_entry IS NULL OR (v_row.outcome IS NOT NULL AND NOT v_row.outcome_folded) THEN
    RETURN NULL;
  END IF;
  SELECT p_cost_usd - sum(amount_usd), sum(unverified_usd) INTO v_difference, v_unverified
  FROM costs_of(p_tenant_id, p_operation_id);
  IF v_difference <> 0 OR v_unverified <> 0 THEN
    INSERT INTO cost_records (tenant_id, operation_id, entry, user_id, run_id, kind, resource, model, price_version,
      amount_usd, estimated_usd, settlement, posted_at, reason, author, labels, decision_no)
    VALUES (p_tenant_id, p_operation_id, 'adjustment', v_entry.user_id, v_entry.run_id, v_entry.kind, v_entry.resource,
      v_entry.model, v_entry.price_version, v_difference, v_entry.estimated_usd, 'actual', v_entry.posted_at, p_reason, p_author,
      v_entry.labels, nextval('decision_numbers'));
    PERFORM apply_quota_changes(p_tenant_id, jsonb_build_array(jsonb_build_object('sequence', 0, 'userId', v_entry.user_id,
      'resource', v_entry.resource, 'reservedDeltaUsd', 0, 'spentDeltaUsd', v_difference, 'postedAt', v_entry.posted_at,
      'grant', false, 'enforced', false)));
    IF jsonb_typeof(v_entry.labels) = 'object' THEN
      PERFORM apply_label_quotas(p_tenant_id, jsonb_build_array(jsonb_build_object('labels', v_entry.labels, 'resource', v_entry.resource,
        'reserved_usd', 0, 'spent_usd', v_difference, 'posted_at', v_entry.posted_at, 'is_grant', false)), '[]', false);
    END IF;
    IF v_row.limit_ids IS NOT NULL THEN
      PERFORM apply_run_limits(p_tenant_id, jsonb_build_array(jsonb_build_object('limit_ids', v_row.limit_ids, 'reserved_usd', 0,
        'spent_usd', v_difference, 'is_grant', false)), '[]');
    END IF;
  END IF;
  UPDATE reservations SET settlement = 'actual', committed_usd = p_cost_usd,
    overrun_usd = nullif(greatest(p_cost_usd - granted_usd, 0), 0)
  WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id AND status = 'committed';
  UPDATE reservations SET outcome_unverified = false
  WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id AND outcome_unverified;
  RETURN v_difference;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.allow_unreserved(p_tenant_id text, p_command jsonb)
 RETURNS void
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  WITH asked AS MATERIALIZED (
    SELECT *
    FROM jsonb_to_record(p_command) AS c (
      "operationId" uuid, "userId" text, "runId" uuid, kind text, step integer, attempt integer, resource text, model text,
      "priceVersion" text, "onExpiry" text, "amountUsd" numeric, "minimumUsd" numeric, "ttlSeconds" double precision,
      "allowedUsd" numeric, refusal jsonb, "runLimit" jsonb, asker text, labels jsonb,
      "sentLabels" jsonb)
  ), refused AS (
    INSERT INTO reservations (tenant_id, operation_id, user_id, run_id, kind, step, attempt, resource, model, price_version,
      on_expiry, requested_usd, minimum_usd, decided_at, status, refusal, labels, sent_labels, decided_with)
    SELECT p_tenant_id, "operationId", "userId", "runId", kind, step, attempt, resource, model, "priceVersion",
      "onExpiry", "amountUsd", "minimumUsd", clock_timestamp(), refusal ->> 'type', refusal, nullif(labels, '{}'), "sentLabels", '{"isUndecided": true}'
    FROM asked WHERE refusal IS NOT NULL
    ON CONFLICT DO NOTHING
  )
  INSERT INTO reservations (tenant_id, operation_id, user_id, run_id, kind, step, attempt, resource, model, price_version,
    on_expiry, requested_usd, minimum_usd, decided_at, status, granted_usd, expires_at, unreserved, allowed_usd,
    limit_ids, asker, labels, sent_labels, decided_with)
  SELECT p_tenant_id, "operationId", "userId", "runId", kind, step, attempt, resource, model, "priceVersion",
    "onExpiry", "amountUsd", "minimumUsd", clock_timestamp(), 'granted', 0,
    clock_timestamp() + make_interval(secs => "ttlSeconds"), true, "allowedUsd",
    (SELECT l.run_id || l.ancestor_ids FROM run_limits l
     WHERE l.tenant_id = p_tenant_id AND l.run_id = ("runLimit" ->> 'id')::uuid), asker, nullif(labels, '{}'), "sentLabels", '{"isUndecided": true}'
  FROM asked WHERE refusal IS NULL
  ON CONFLICT DO NOTHING
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.append_run_event(p_run_id uuid, p_event_key text, p_type text, p_data jsonb)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
DECLARE
  v_tenant_id text;
BEGIN
  SELECT tenant_id INTO v_tenant_id FROM runs WHERE run_id = p_run_id FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  INSERT INTO run_events (run_id, tenant_id, sequence, event_key, type, data)
  SELECT p_run_id, v_tenant_id, coalesce(max(sequence), 0) + 1, p_event_key, p_type, p_data
  FROM run_events WHERE run_id = p_run_id
  ON CONFLICT (run_id, event_key) DO NOTHING;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.apply_label_quotas(p_tenant_id text, p_moves jsonb, p_changes jsonb, p_binds boolean)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
DECLARE
  v_labels jsonb[] := ARRAY(SELECT DISTINCT m.labels FROM jsonb_to_recordset(p_moves) AS m (labels jsonb));
  v_scopes jsonb;
  v_scope_ids text[];
  v_crossed jsonb;
  v_moves jsonb;
  v_knew text := coalesce(current_setting('spendlock.label_quotas', true), '');
  v_knew_shadows text := coalesce(current_setting('spendlock.shadow_quotas', true), '');
BEGIN
  -- These rows are kept also by who does not know them.
  PERFORM set_config('spendlock.label_quotas', 'on', true), set_config('spendlock.shadow_quotas', 'on', true);
  IF NOT has_label_quotas(p_tenant_id) THEN
    PERFORM set_config('spendlock.label_quotas', v_knew, true), set_config('spendlock.shadow_quotas', v_knew_shadows, true);
    RETURN;
  END IF;
  PERFORM add_label_quotas(p_tenant_id, v_labels);
  SELECT jsonb_agg(to_jsonb(s)) INTO v_scopes FROM label_scopes(p_tenant_id, v_labels) AS s;
  v_scope_ids := ARRAY(SELECT s ->> 'scope_id' FROM jsonb_array_elements(v_scopes) AS s);
  IF NOT p_binds THEN
    PERFORM reset_label_periods(p_tenant_id, clock_timestamp(), v_scope_ids);
  ELSIF v_knew_shadows <> 'on' THEN
    -- Of one that knows limits of labels and none that are only watched, in the period of what it decided.
    PERFORM reset_label_periods(p_tenant_id, (
      SELECT max(c."postedAt") FROM jsonb_to_recordset(p_changes) AS c ("postedAt" timestamptz)), v_scope_ids);
  END IF;
  WITH covering AS MATERIALIZED (
    SELECT * FROM quotas_of(p_tenant_id, '{}', v_scope_ids) WHERE scope IN ('label', 'shadow_label')
  ), steps AS (
    SELECT "operationId" AS operation_id, min(sequence) AS sequence, bool_or(enforced) AS enforced
    FROM jsonb_to_recordset(p_changes) AS c ("operationId" uuid, sequence integer, enforced boolean)
    WHERE "operationId" IS NOT NULL GROUP BY 1
  ), effects AS MATERIALIZED (
    SELECT q.quota_id, q.resource_type, q.scope_id, q.limit_usd + q.topup_usd AS limit_usd, q.current_spend_usd + q.reserved_usd AS held_usd,
           q.topup_kept_usd AS kept_usd, q.limit_usd AS base_usd,
           m.reserved_usd, CASE WHEN q.resource_type IN ('all', m.resource) AND m.posted_at >= q.period_start AND m.posted_at < q.period_end THEN m.spent_usd ELSE 0 END AS spent_usd,
           -- A grant of nothing is no change of a balance, and lifts none.
           m.is_grant AND p_binds AND q.scope = 'label' AND m.reserved_usd > 0 AND coalesce(t.enforced, true) AS binds,
           coalesce(m.sequence, t.sequence, CASE WHEN m.is_grant THEN 2147483647 ELSE -1 END) AS sequence
    FROM jsonb_to_recordset(p_moves) AS m (operation_id uuid, labels jsonb, resource text, held_on jsonb, sequence integer, reserved_usd numeric, spent_usd numeric,
           posted_at timestamptz, is_grant boolean)
    JOIN jsonb_to_recordset(v_scopes) AS s (key text, value text, scope_id text) ON m.labels ->> s.key = s.value
    JOIN covering q ON q.scope_id = s.scope_id AND (q.resource_type IN ('all', m.resource) OR m.held_on ? q.resource_type)
    LEFT JOIN steps t ON t.operation_id = m.operation_id
  ), lifted AS MATERIALIZED (
    -- As apply_quota_changes has it.
    SELECT l.*, l.kept_usd - least(l.kept_usd, greatest(min(l.lifted_to_usd) OVER (PARTITION BY l.quota_id ORDER BY l.sequence) - l.base_usd, 0))
             AS taken_back_usd
    FROM (
      SELECT e.*, held_usd + sum(reserved_usd + spent_usd) OVER (PARTITION BY quota_id ORDER BY sequence) AS lifted_to_usd
      FROM effects e) AS l
  ), crossed AS (
    SELECT * FROM lifted
    WHERE binds AND lifted_to_usd > limit_usd - taken_back_usd
    ORDER BY sequence LIMIT 1
  )
  SELECT (SELECT to_jsonb(crossed) FROM crossed), (SELECT jsonb_agg(to_jsonb(t)) FROM (
    SELECT quota_id, sum(reserved_usd) AS reserved_usd, sum(spent_usd) AS spent_usd, max(taken_back_usd) AS taken_back_usd
    FROM lifted GROUP BY quota_id) AS t)
  INTO v_crossed, v_moves;
  IF v_crossed IS NULL THEN
    PERFORM move_quotas(v_moves);
  END IF;
  PERFORM set_config('spendlock.label_quotas', v_knew, true), set_config('spendlock.shadow_quotas', v_knew_shadows, true);
  IF v_crossed IS NOT NULL THEN
    RAISE EXCEPTION 'quota_guard: a grant would lift the % quota of label % to % USD, above its limit of % USD; nothing was recorded',
      v_crossed ->> 'resource_type', v_crossed ->> 'scope_id', v_crossed ->> 'lifted_to_usd',
      (v_crossed ->> 'limit_usd')::numeric - (v_crossed ->> 'taken_back_usd')::numeric
      USING ERRCODE = 'SL001';
  END IF;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.apply_quota_changes(p_tenant_id text, p_changes jsonb)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
DECLARE
  v_crossed jsonb;
  v_moves jsonb;
  v_updated integer;
  v_user_ids text[] := ARRAY(SELECT DISTINCT change ->> 'userId' FROM jsonb_array_elements(p_changes) AS change WHERE change ? 'userId');
  -- By operation, where the limits of several resources hold what it moves.
  v_held_on jsonb := nullif(current_setting('spendlock.held_on', true), '');
  v_knew text := coalesce(current_setting('spendlock.shadow_quotas', true), '');
BEGIN
  IF jsonb_array_length(p_changes) = 0 THEN
    RETURN 0;
  END IF;
  -- One of the version before does not know of watched limits and began no period of theirs: they are in that of what it decided.
  IF v_knew <> 'on' THEN
    PERFORM set_config('spendlock.shadow_quotas', 'on', true);
    PERFORM reset_ended_periods(p_tenant_id, (
      SELECT max(c."postedAt") FROM jsonb_to_recordset(p_changes) AS c ("postedAt" timestamptz)), v_user_ids);
  END IF;
  WITH covering AS MATERIALIZED (
    SELECT * FROM quotas_of(p_tenant_id, v_user_ids, '{}')
  ), effects AS MATERIALIZED (
    SELECT q.quota_id, q.scope, q.scope_id, q.resource_type, q.limit_usd + q.topup_usd AS limit_usd, c.sequence,
           c."grant" AND c.enforced AND q.scope NOT IN ('shadow_tenant', 'shadow_user') AS binds, c."reservedDeltaUsd" AS reserved_delta_usd,
           CASE WHEN q.resource_type IN ('all', c.resource) AND c."postedAt" >= q.period_start AND c."postedAt" < q.period_end THEN c."spentDeltaUsd" ELSE 0 END AS spent_delta_usd,
           q.current_spend_usd + q.reserved_usd AS held_usd, q.topup_kept_usd AS kept_usd, q.limit_usd AS base_usd
    FROM jsonb_to_recordset(p_changes) AS c (
           sequence integer, "operationId" text, "userId" text, resource text, "reservedDeltaUsd" numeric, "spentDeltaUsd" numeric,
           "postedAt" timestamptz, "grant" boolean, enforced boolean)
    CROSS JOIN LATERAL (VALUES ('platform', 'platform'), ('tenant', p_tenant_id), ('user', c."userId"),
      ('shadow_tenant', p_tenant_id), ('shadow_user', c."userId")) AS payer (scope, scope_id)
    JOIN covering q ON q.scope = payer.scope AND q.scope_id = payer.scope_id AND (q.resource_type IN ('all', c.resource) OR v_held_on -> c."operationId" ? q.resource_type)
  ), lifted AS MATERIALIZED (
    -- What came back of a top-up that has expired is nobody's any more, whatever is granted after it.
    SELECT l.*, l.kept_usd - least(l.kept_usd, greatest(min(l.lifted_to_usd) OVER (PARTITION BY l.quota_id ORDER BY l.sequence) - l.base_usd, 0))
             AS taken_back_usd
    FROM (
      SELECT e.*, e.held_usd + sum(e.reserved_delta_usd + e.spent_delta_usd)
               OVER (PARTITION BY e.quota_id ORDER BY e.sequence) AS lifted_to_usd
      FROM effects e) AS l
  ), crossed AS (
    SELECT * FROM lifted
    WHERE binds AND lifted_to_usd > limit_usd - taken_back_usd
    ORDER BY sequence LIMIT 1
  )
  SELECT (SELECT to_jsonb(crossed) FROM crossed), (SELECT jsonb_agg(to_jsonb(t)) FROM (
    SELECT quota_id, sum(reserved_delta_usd) AS reserved_usd, sum(spent_delta_usd) AS spent_usd, max(taken_back_usd) AS taken_back_usd
    FROM lifted GROUP BY quota_id) AS t)
  INTO v_crossed, v_moves;
  IF v_crossed IS NOT NULL THEN
    RAISE EXCEPTION 'quota_guard: change % would lift the % quota of % % to % USD, above its limit of % USD; nothing was recorded',
      v_crossed ->> 'sequence', v_crossed ->> 'resource_type', v_crossed ->> 'scope', v_crossed ->> 'scope_id',
      v_crossed ->> 'lifted_to_usd', (v_crossed ->> 'limit_usd')::numeric - (v_crossed ->> 'taken_back_usd')::numeric
      USING ERRCODE = 'SL001';
  END IF;
  v_updated := move_quotas(v_moves);
  PERFORM set_config('spendlock.shadow_quotas', v_knew, true);
  RETURN v_updated;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.apply_run_limits(p_tenant_id text, p_moves jsonb, p_changes jsonb)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
DECLARE
  v_crossed jsonb;
BEGIN
  WITH steps AS (
    SELECT "operationId" AS operation_id, min(sequence) AS sequence
    FROM jsonb_to_recordset(p_changes) AS c ("operationId" uuid, sequence integer) WHERE "operationId" IS NOT NULL GROUP BY 1
  ), effects AS MATERIALIZED (
    SELECT l.run_id, l.limit_usd, l.spent_usd + l.reserved_usd AS held_usd, m.reserved_usd, m.spent_usd, m.is_grant,
           coalesce(s.sequence, CASE WHEN m.is_grant THEN 2147483647 ELSE -1 END) AS sequence
    FROM jsonb_to_recordset(p_moves) AS m (operation_id uuid, limit_ids uuid[], reserved_usd numeric, spent_usd numeric, is_grant boolean)
    JOIN run_limits l ON l.tenant_id = p_tenant_id AND l.run_id = ANY (m.limit_ids)
    LEFT JOIN steps s ON s.operation_id = m.operation_id
  ), crossed AS (
    SELECT * FROM (
      SELECT e.*, held_usd + sum(reserved_usd + spent_usd) OVER (PARTITION BY run_id ORDER BY sequence) AS lifted_to_usd
      FROM effects e) AS lifted
    WHERE is_grant AND lifted_to_usd > limit_usd
    ORDER BY sequence LIMIT 1
  ), updated AS (
    UPDATE run_limits l SET reserved_usd = l.reserved_usd + t.reserved_usd, spent_usd = l.spent_usd + t.spent_usd,
      used_on = current_date
    FROM (SELECT run_id, sum(reserved_usd) AS reserved_usd, sum(spent_usd) AS spent_usd FROM effects GROUP BY run_id) AS t
    WHERE l.tenant_id = p_tenant_id AND l.run_id = t.run_id AND NOT EXISTS (SELECT FROM crossed)
  )
  SELECT to_jsonb(crossed) INTO v_crossed FROM crossed;
  IF v_crossed IS NOT NULL THEN
    RAISE EXCEPTION 'run_limit_guard: a grant would lift run % to % USD, above its limit of % USD; nothing was recorded',
      v_crossed ->> 'run_id', v_crossed ->> 'lifted_to_usd', v_crossed ->> 'limit_usd' USING ERRCODE = 'SL001';
  END IF;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.are_price_multipliers(multipliers jsonb)
 RETURNS boolean
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
DECLARE
  v_kind record;
  v_factor record;
BEGIN
  IF jsonb_typeof(multipliers) <> 'object' THEN
    RETURN false;
  END IF;
  FOR v_kind IN SELECT * FROM jsonb_each(multipliers) LOOP
    IF v_kind.key NOT IN ('serviceTier', 'speed', 'inferenceGeo') OR jsonb_typeof(v_kind.value) <> 'object' THEN
      RETURN false;
    END IF;
    FOR v_factor IN SELECT * FROM jsonb_each(v_kind.value) LOOP
      IF jsonb_typeof(v_factor.value) <> 'string'
        OR v_factor.value #>> '{}' !~ '^(0|[1-9][0-9]{0,3})([.][0-9]{1,6})?$'
        OR (v_factor.value #>> '{}')::numeric = 0 THEN
        RETURN false;
      END IF;
    END LOOP;
  END LOOP;
  RETURN true;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.are_too_many_resources(p_tenant_id text, p_max integer)
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  SELECT count(*) > p_max FROM (
    SELECT resource_type FROM cost_quotas WHERE tenant_id IS NOT DISTINCT FROM p_tenant_id AND lease_of IS NULL
    UNION SELECT resource_type FROM user_quota_defaults WHERE tenant_id = p_tenant_id
    UNION SELECT resource_type FROM label_quota_defaults WHERE tenant_id = p_tenant_id) AS named
  WHERE resource_type <> 'all'
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.bar_mandate(p_tenant_id text, p_reason text)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
BEGIN
  IF NOT lock_tenant(p_tenant_id) THEN
    RETURN false;
  END IF;
  INSERT INTO mandates (tenant_id, barred_at, barred_reason)
  VALUES (p_tenant_id, CASE WHEN p_reason IS NOT NULL THEN clock_timestamp() END, p_reason)
  ON CONFLICT (tenant_id) DO UPDATE SET open_until = CASE WHEN p_reason IS NULL THEN mandates.open_until END,
    barred_at = excluded.barred_at, barred_reason = excluded.barred_reason;
  RETURN true;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.billed_as(p_tenant_id text, p_user_id text, p_resource text)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  SELECT CASE WHEN p_resource = 'tool' AND (
      SELECT (bool_or(l.resource_type = 'e2b' AND l.scope = 'tenant') AND NOT bool_or(l.resource_type IN ('tool', 'all') AND l.scope = 'tenant'))
          OR (bool_or(l.resource_type = 'e2b') AND NOT bool_or(l.resource_type IN ('tool', 'all')))
      FROM (
        SELECT q.scope, q.resource_type FROM cost_quotas q
        WHERE q.tenant_id = p_tenant_id AND (q.scope = 'tenant' OR (q.scope = 'user' AND q.scope_id = p_user_id))
        UNION ALL
        SELECT q.scope, q.resource_type FROM cost_quotas q WHERE q.tenant_id IS NULL
        UNION ALL
        SELECT 'user', d.resource_type FROM user_quota_defaults d WHERE d.tenant_id = p_tenant_id AND p_user_id IS NOT NULL) AS l)
    THEN 'e2b' ELSE p_resource END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.cache_saved(p_usage jsonb)
 RETURNS numeric
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT CASE WHEN p_usage ->> 'cacheSavedUsd' ~ '^-?[0-9]{1,9}([.][0-9]{1,12})?$' THEN (p_usage ->> 'cacheSavedUsd')::numeric ELSE 0 END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.check_and_record_quota_atomic(p_tenant_id text, p_changes jsonb)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
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
  PERFORM reset_ended_periods(p_tenant_id, clock_timestamp(), v_user_ids);
  RETURN apply_quota_changes(p_tenant_id, p_changes);
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.check_envelopes(p_tenant_id text, p_rows jsonb, p_moves jsonb)
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
DECLARE
  v_wrong text;
BEGIN
  WITH written AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(p_rows) AS w (operation_id uuid, parent_id uuid, envelope_usd numeric, was_usd numeric,
      granted_usd numeric, status text, was text, returned_usd numeric, committed_usd numeric)
  ), parts AS (
    SELECT w.*, CASE WHEN w.was IS NULL THEN w.granted_usd ELSE 0 END AS taken_usd, w.granted_usd - coalesce(w.committed_usd, 0) AS unused_usd
    FROM written w WHERE w.parent_id IS NOT NULL AND w.granted_usd IS NOT NULL AND w.was IS DISTINCT FROM w.status
  ), sums AS (
    SELECT parent_id AS operation_id, sum(coalesce(returned_usd, 0) - taken_usd) AS moved_usd FROM parts GROUP BY parent_id
  ), envelopes AS (
    SELECT operation_id, granted_usd - coalesce(was_usd, envelope_usd) AS moved_usd,
      CASE WHEN status = 'granted' THEN granted_usd ELSE 0 END - coalesce(was_usd, envelope_usd) AS held_usd
    FROM written WHERE envelope_usd IS NOT NULL
  ), moves AS (
    SELECT operation_id, sum(reserved_usd) AS held_usd
    FROM jsonb_to_recordset(coalesce(p_moves, '[]')) AS m (operation_id uuid, reserved_usd numeric) GROUP BY operation_id
  )
  SELECT coalesce(
    (SELECT format('the rest of the envelope %s would change by %s USD, and its parts moved %s USD', operation_id,
              coalesce(e.moved_usd, 0), coalesce(s.moved_usd, 0))
     FROM envelopes e FULL JOIN sums s USING (operation_id) WHERE coalesce(e.moved_usd, 0) <> coalesce(s.moved_usd, 0) LIMIT 1),
    (SELECT format('what is held for the envelope %s would change by %s USD, and its rest by %s USD', operation_id,
              coalesce(m.held_usd, 0), e.held_usd)
     FROM envelopes e LEFT JOIN moves m USING (operation_id) WHERE coalesce(m.held_usd, 0) <> e.held_usd LIMIT 1),
    (SELECT format('the part %s would give %s USD back of %s USD that it did not need', operation_id, returned_usd, unused_usd)
     FROM parts WHERE returned_usd NOT BETWEEN least(unused_usd, 0) AND greatest(unused_usd, 0) OR (returned_usd <> 0 AND status = 'granted') LIMIT 1),
    (SELECT format('%s would be a part of %s, which is no envelope for it', p.operation_id, p.parent_id)
     FROM parts p JOIN reservations r ON r.tenant_id = p_tenant_id AND r.operation_id = p.operation_id
     LEFT JOIN reservations e ON e.tenant_id = p_tenant_id AND e.operation_id = p.parent_id
     WHERE p.was IS NULL AND (e.envelope_usd IS NULL OR NOT r.resource = ANY (e.held_on) OR r.run_id IS DISTINCT FROM coalesce(e.run_id, r.run_id)
       OR (r.user_id, r.held_on, nullif(r.labels, '{}')) IS DISTINCT FROM (e.user_id, e.held_on, nullif(e.labels, '{}'))) LIMIT 1))
  INTO v_wrong;
  IF v_wrong IS NOT NULL THEN
    RAISE EXCEPTION 'envelope_guard: %; nothing was recorded', v_wrong USING ERRCODE = 'SL001';
  END IF;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.claim_reservation(p_tenant_id text, p_operation_id uuid, p_claim_token uuid)
 RETURNS numeric
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  UPDATE reservations
  SET claimed_at = coalesce(claimed_at, clock_timestamp()), claim_token = p_claim_token,
      expires_at = CASE WHEN claimed_at IS NULL
        THEN greatest(expires_at, clock_timestamp() + (expires_at - decided_at)) ELSE expires_at END
  WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id AND status = 'granted'
    AND outcome IS NULL AND expires_at > clock_timestamp() AND (claim_token IS NULL OR claim_token = p_claim_token)
    AND envelope_usd IS NULL
  RETURNING CASE WHEN unreserved THEN coalesce(allowed_usd, requested_usd) ELSE granted_usd END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.costs_of(p_tenant_id text, p_operation_id uuid)
 RETURNS SETOF cost_records
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  SELECT * FROM cost_records
  WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id AND (entry <> 'adjustment' OR entry = 'adjustment')
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.count_running_sandboxes()
 RETURNS integer
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  SELECT count(*)::integer FROM reservations
  WHERE status = 'granted' AND outcome IS NULL AND kind LIKE 'sandbox.%' AND claimed_at IS NOT NULL
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.count_unverified()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
BEGIN
  NEW.unverified_usd := CASE
    WHEN NEW.settlement = 'unverified' THEN NEW.amount_usd
    ELSE -coalesce((SELECT sum(unverified_usd) FROM costs_of(NEW.tenant_id, NEW.operation_id)), 0)
  END;
  RETURN NEW;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.counted_labels(p_tenant_id text, p_labels jsonb)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  SELECT jsonb_object_agg(s.key, substr(s.scope_id, length(s.key) + 2)) FROM label_scopes(p_tenant_id, ARRAY[p_labels]) AS s
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.current_quota(q cost_quotas)
 RETURNS TABLE(limit_usd numeric, topup_usd numeric, whole_limit_usd numeric, spent_usd numeric, was_ended boolean)
 LANGUAGE sql
 STABLE
AS $function$
  SELECT CASE WHEN q.period_end <= pg_catalog.now() AND q.lease_of IS NOT NULL THEN q.reserved_usd ELSE q.limit_usd END,
         CASE WHEN q.topup_expires_at <= pg_catalog.now() OR (q.topup_expires_at IS NOT NULL AND q.period_end <= pg_catalog.now())
                THEN (copilot_internal.topups_at(q, pg_catalog.now())).topup_usd
              WHEN q.period_end <= pg_catalog.now() THEN 0 ELSE q.topup_usd END,
         CASE WHEN q.topup_expires_at <= pg_catalog.now() OR (q.topup_expires_at IS NOT NULL AND q.period_end <= pg_catalog.now())
                THEN q.limit_usd + (copilot_internal.topups_at(q, pg_catalog.now())).topup_usd
              WHEN q.period_end > pg_catalog.now() THEN q.limit_usd + q.topup_usd
              WHEN q.lease_of IS NOT NULL THEN q.reserved_usd ELSE q.limit_usd END,
         CASE WHEN q.period_end <= pg_catalog.now() THEN 0 ELSE q.current_spend_usd END,
         q.period_end <= pg_catalog.now()
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.delete_tenant(p_tenant_id text, p_api_key_id uuid, p_author text, p_reason text)
 RETURNS text
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
 SET lock_timeout TO '2s'
AS $function$
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
  FOREACH v_table IN ARRAY ARRAY['mandates', 'run_limits', 'quota_alerts', 'money_waiters', 'money_requests', 'reply_deltas', 'approvals', 'turns', 'context_compactions',
    'transcript_messages', 'run_events', 'run_files', 'runs', 'cost_records', 'daily_costs', 'daily_label_costs', 'daily_label_sets', 'label_values', 'reservations',
    'user_quota_defaults', 'label_quota_defaults', 'tools', 'frozen_users', 'api_keys', 'audit_entries']
  LOOP
    EXECUTE format('DELETE FROM copilot_internal.%I WHERE tenant_id = $1', v_table) USING p_tenant_id;
  END LOOP;
  -- What it spent of the platform's quotas in a period that still runs stays counted.
  DELETE FROM cost_quotas WHERE tenant_id = p_tenant_id
    AND (lease_of IS NULL OR current_spend_usd = 0 OR period_end <= clock_timestamp());
  UPDATE cost_quotas SET limit_usd = current_spend_usd WHERE tenant_id = p_tenant_id;
  -- Which limits were removed is noted as that happens.
  DELETE FROM limit_changes WHERE tenant_id = p_tenant_id;
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
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.draw_lease(p_tenant_id text, p_needs jsonb)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
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
  PERFORM lock_tenant(p_tenant_id);
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
          WHERE r.status = 'granted' AND r.outcome IS NULL AND is_released_by_expiry(r)
            -- What a part gives back is its envelope's.
            AND (r.parent_id IS NULL OR NOT EXISTS (
              SELECT FROM reservations e WHERE e.tenant_id = r.tenant_id AND e.operation_id = r.parent_id AND e.status = 'granted'))
            AND (v_platform.resource_type IN ('all', r.resource) OR v_platform.resource_type = ANY (r.held_on))) END
    WHERE quota_id = v_need.quota_id;
  END LOOP;
  RETURN v_met;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.ends_of_api_keys(p_api_key_ids uuid[])
 RETURNS TABLE(api_key_id uuid, revoked_at timestamp with time zone)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  SELECT asked.api_key_id, coalesce(k.revoked_at, 'epoch')
  FROM unnest(p_api_key_ids) AS asked (api_key_id) LEFT JOIN api_keys k USING (api_key_id)
  WHERE k.api_key_id IS NULL OR k.revoked_at IS NOT NULL
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.extend_reservation(p_tenant_id text, p_operation_id uuid, p_ttl_seconds numeric)
 RETURNS timestamp with time zone
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  UPDATE reservations
  SET expires_at = greatest(expires_at, clock_timestamp() + make_interval(secs => p_ttl_seconds::double precision))
  WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id AND status = 'granted' AND outcome IS NULL
    AND expires_at > clock_timestamp()
  RETURNING expires_at
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.find_api_key(p_key_hash bytea)
 RETURNS TABLE(api_key_id uuid, tenant_id text, revoked_at timestamp with time zone)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  SELECT k.api_key_id, k.tenant_id, k.revoked_at FROM api_keys k
  WHERE k.key_hash = p_key_hash AND (k.revoked_at IS NULL OR k.revoked_at > clock_timestamp()) AND k.role IS NULL
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.find_caller(p_key_hash bytea)
 RETURNS TABLE(api_key_id uuid, tenant_id text, role text, revoked_at timestamp with time zone)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  SELECT o.api_key_id, o.tenant_id, o.role, o.revoked_at FROM find_key_owner(p_key_hash) AS o
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.find_key_owner(p_key_hash bytea)
 RETURNS TABLE(api_key_id uuid, tenant_id text, role text, revoked_at timestamp with time zone, labels jsonb)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  SELECT k.api_key_id, k.tenant_id, k.role, k.revoked_at, k.labels FROM api_keys k
  WHERE k.key_hash = p_key_hash AND (k.revoked_at IS NULL OR k.revoked_at > clock_timestamp())
    AND NOT EXISTS (SELECT FROM tenants t WHERE t.tenant_id = k.tenant_id AND t.deleted_at IS NOT NULL)
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.follow_platform_quota()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
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
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.forget_events(p_ended_before timestamp with time zone, p_max integer)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
DECLARE
  v_runs uuid[] := ARRAY(
    SELECT run_id FROM runs WHERE ended_at < p_ended_before AND events_forgotten_at IS NULL
    ORDER BY ended_at LIMIT p_max FOR NO KEY UPDATE SKIP LOCKED);
BEGIN
  DELETE FROM run_events WHERE run_id = ANY (v_runs);
  UPDATE runs SET events_forgotten_at = clock_timestamp() WHERE run_id = ANY (v_runs);
  RETURN cardinality(v_runs);
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.forget_leftovers(p_requests_before timestamp with time zone, p_max integer)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
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
  -- Limits of runs of which nothing is held, that nobody asked for in three months, to which nothing belongs that is kept, and that belong
  -- to no run that goes on.
  DELETE FROM run_limits WHERE (tenant_id, run_id) IN (
    SELECT l.tenant_id, l.run_id FROM run_limits l
    WHERE l.used_on < current_date - 90 AND l.reserved_usd = 0
      AND NOT EXISTS (SELECT FROM run_limits d WHERE d.tenant_id = l.tenant_id AND d.ancestor_ids @> ARRAY[l.run_id])
      AND NOT EXISTS (SELECT FROM runs r WHERE r.run_id = ANY (l.run_id || l.ancestor_ids) AND r.ended_at IS NULL)
    ORDER BY l.used_on LIMIT p_max FOR UPDATE SKIP LOCKED);
  RETURN v_count;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.forget_transcripts(p_ended_before timestamp with time zone, p_max integer)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
DECLARE
  v_runs uuid[] := ARRAY(
    SELECT run_id FROM runs WHERE ended_at < p_ended_before AND transcript_forgotten_at IS NULL
    ORDER BY ended_at LIMIT p_max FOR NO KEY UPDATE SKIP LOCKED);
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
  SET task = CASE type WHEN 'task' THEN '(forgotten)' ELSE '' END, answer = NULL, title = NULL, options = options - 'instructions',
      transcript_forgotten_at = clock_timestamp()
  WHERE run_id = ANY (v_runs);
  RETURN cardinality(v_runs);
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.has_label_quotas(p_tenant_id text)
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
 SET enable_bitmapscan TO 'off'
 SET enable_sort TO 'off'
AS $function$
  SELECT (SELECT true FROM cost_quotas WHERE tenant_id = p_tenant_id AND scope = 'label'
          ORDER BY tenant_id, scope, scope_id, resource_type, period LIMIT 1) IS NOT NULL
    OR (SELECT true FROM cost_quotas WHERE tenant_id = p_tenant_id AND scope = 'shadow_label'
        ORDER BY tenant_id, scope, scope_id, resource_type, period LIMIT 1) IS NOT NULL
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.hold_api_key(p_api_key_id uuid)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
BEGIN
  PERFORM FROM api_keys
  WHERE api_key_id = p_api_key_id AND (revoked_at IS NULL OR revoked_at > clock_timestamp()) FOR SHARE;
  RETURN FOUND;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.initialize_existing_tenant_quotas()
 RETURNS integer
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  SELECT coalesce(sum(add_default_quotas(tenant_id)), 0)::integer FROM tenants
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.initialize_tenant_quotas()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
BEGIN
  PERFORM add_default_quotas(NEW.tenant_id);
  RETURN NULL;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.is_busy(p_tenant_id text)
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  SELECT EXISTS (SELECT FROM runs WHERE tenant_id = p_tenant_id AND status = 'running')
    OR EXISTS (SELECT FROM reservations
               WHERE tenant_id = p_tenant_id AND (status = 'granted' OR (outcome IS NOT NULL AND NOT outcome_folded)))
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.is_mandated(p_tenant_id text, p_rules text)
 RETURNS boolean
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  SELECT EXISTS (SELECT FROM mandates
    WHERE tenant_id = p_tenant_id AND open_until > clock_timestamp() AND barred_at IS NULL AND rules = p_rules)
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.is_released_by_expiry(r reservations)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE
AS $function$
  SELECT coalesce(r.on_expiry = 'release', r.claimed_at IS NULL)
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.keep_no_key()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
BEGIN
  IF jsonb_typeof(NEW.response_body) = 'object' THEN
    NEW.response_body := NEW.response_body - 'apiKey';
  END IF;
  RETURN NEW;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.label_quotas_wrong(p_tenant_id text)
 RETURNS TABLE(quota_id uuid, spent_usd numeric, reserved_usd numeric, ledger_usd numeric, open_usd numeric)
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  WITH quotas AS MATERIALIZED (
    SELECT q.*, split_part(q.scope_id, ':', 1) AS key, substr(q.scope_id, strpos(q.scope_id, ':') + 1) AS value
    FROM cost_quotas q WHERE q.tenant_id = p_tenant_id AND q.scope IN ('label', 'shadow_label')
  ), spent AS MATERIALIZED (
    SELECT p.period_start, p.period_end, l.key, l.value, c.resource, sum(c.amount_usd) AS usd
    FROM (SELECT DISTINCT q.period_start, q.period_end FROM quotas q) AS p
    JOIN cost_records c ON c.tenant_id = p_tenant_id AND c.posted_at >= p.period_start AND c.posted_at < p.period_end
    CROSS JOIN LATERAL jsonb_each_text(CASE WHEN jsonb_typeof(c.labels) = 'object' THEN c.labels ELSE '{}' END) AS l
    GROUP BY 1, 2, 3, 4, 5
  ), held AS MATERIALIZED (
    SELECT s.scope_id, r.resource, r.held_on, sum(r.usd) AS usd
    FROM (SELECT o.labels, o.resource, o.held_on, sum(o.granted_usd) AS usd FROM reservations o
          WHERE o.tenant_id = p_tenant_id AND o.status = 'granted' AND o.labels IS NOT NULL GROUP BY 1, 2, 3) AS r
    CROSS JOIN LATERAL label_scopes(p_tenant_id, ARRAY[r.labels]) AS s
    GROUP BY 1, 2, 3
  ), sums AS (
    SELECT q.quota_id, q.current_spend_usd, q.reserved_usd, coalesce(a.usd, 0) AS ledger_usd, coalesce(b.usd, 0) AS open_usd
    FROM quotas q
    LEFT JOIN (
      SELECT q.quota_id, sum(s.usd) AS usd FROM quotas q
      JOIN spent s USING (period_start, period_end, key, value) WHERE q.resource_type IN ('all', s.resource) GROUP BY 1) AS a USING (quota_id)
    LEFT JOIN (
      SELECT q.quota_id, sum(h.usd) AS usd FROM quotas q
      JOIN held h USING (scope_id) WHERE q.resource_type IN ('all', h.resource) OR q.resource_type = ANY (h.held_on) GROUP BY 1) AS b USING (quota_id)
  )
  SELECT s.quota_id, s.current_spend_usd, s.reserved_usd, s.ledger_usd, s.open_usd FROM sums s
  WHERE (s.current_spend_usd, s.reserved_usd) <> (s.ledger_usd, s.open_usd)
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.label_scopes(p_tenant_id text, p_labels jsonb[])
 RETURNS TABLE(key text, value text, scope_id text)
 LANGUAGE sql
 STABLE
AS $function$
  SELECT n.key, n.value, pg_catalog.concat(n.key, ':', CASE
    WHEN n.value = 'other' THEN n.value
    WHEN (SELECT true FROM copilot_internal.label_values v
          WHERE v.tenant_id = p_tenant_id AND v.key = n.key AND v.value = n.value LIMIT 1) THEN n.value
    WHEN pg_catalog.octet_length(n.value) > 64 THEN 'other'
    WHEN (SELECT pg_catalog.count(*) FROM copilot_internal.label_values v WHERE v.tenant_id = p_tenant_id AND v.key = n.key)
         >= copilot_internal.label_values_max() THEN 'other'
    ELSE n.value END)
  FROM (
    SELECT DISTINCT l.key, l.value
    FROM pg_catalog.unnest(p_labels) AS labels
    CROSS JOIN LATERAL pg_catalog.jsonb_each_text(CASE WHEN pg_catalog.jsonb_typeof(labels) = 'object' THEN labels ELSE '{}' END) AS l
    WHERE l.value IS NOT NULL) AS n
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.label_sets_max()
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$ SELECT 10000 $function$
;

CREATE OR REPLACE FUNCTION copilot_internal.label_spend(p_tenant_id text, p_key text, p_periods text[], p_mark bigint)
 RETURNS TABLE(period text, period_start timestamp with time zone, value text, resource text, spent_usd numeric)
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  WITH bounds AS MATERIALIZED (
    SELECT p.name, b.period_start, b.period_end FROM unnest(p_periods) AS p (name) CROSS JOIN LATERAL period_bounds(p.name, clock_timestamp()) AS b
  ), crowded AS MATERIALIZED (
    SELECT c.day FROM daily_label_sets c WHERE c.tenant_id = p_tenant_id AND c.sets >= label_sets_max()
      AND c.day >= (SELECT min(b.period_start AT TIME ZONE 'UTC')::date FROM bounds b)
  ), spent AS MATERIALIZED (
    SELECT d.day, d.labels ->> p_key AS value, d.resource, sum(d.cost_usd) AS usd
    FROM daily_label_costs d
    WHERE d.tenant_id = p_tenant_id AND d.day >= (SELECT min(b.period_start AT TIME ZONE 'UTC')::date FROM bounds b)
      AND d.labels ? p_key AND d.day NOT IN (SELECT c.day FROM crowded c)
    GROUP BY 1, 2, 3
    UNION ALL
    SELECT w.day, l.labels ->> p_key, l.resource, sum(l.amount_usd)
    FROM crowded w JOIN cost_records l ON l.tenant_id = p_tenant_id AND l.posted_at >= w.day::timestamp AT TIME ZONE 'UTC'
      AND l.posted_at < (w.day + 1)::timestamp AT TIME ZONE 'UTC'
    WHERE l.labels ? p_key AND l.cost_record_id <= p_mark
    GROUP BY 1, 2, 3
    UNION ALL
    -- The sums have what came after the mark too.
    SELECT (l.posted_at AT TIME ZONE 'UTC')::date, l.labels ->> p_key, l.resource, -sum(l.amount_usd)
    FROM cost_records l
    WHERE l.cost_record_id > p_mark AND l.tenant_id = p_tenant_id AND l.labels ? p_key
      AND (l.posted_at AT TIME ZONE 'UTC')::date NOT IN (SELECT c.day FROM crowded c)
    GROUP BY 1, 2, 3
  )
  SELECT b.name, b.period_start, s.value, s.resource, sum(s.usd)
  FROM bounds b JOIN spent s ON s.day >= (b.period_start AT TIME ZONE 'UTC')::date AND s.day < (b.period_end AT TIME ZONE 'UTC')::date
  GROUP BY 1, 2, 3, 4
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.label_sums_wrong(p_tenant_id text, p_days date[])
 RETURNS TABLE(day date, labels jsonb, resource text, kind text, model text, was_usd numeric, cost_usd numeric, unverified_usd numeric, operations bigint, cache_saved_usd numeric)
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  WITH lines AS MATERIALIZED (
    SELECT d.of AS day, c.labels, c.resource, c.kind, coalesce(c.model, '') AS model, sum(c.amount_usd) AS cost_usd,
           sum(c.unverified_usd) AS unverified_usd, count(*) FILTER (WHERE c.entry = 'commit') AS operations,
           sum(cache_saved(c.usage)) AS cache_saved_usd
    FROM unnest(p_days) AS d (of) JOIN cost_records c ON c.tenant_id = p_tenant_id
      AND c.posted_at >= d.of::timestamp AT TIME ZONE 'UTC' AND c.posted_at < (d.of + 1)::timestamp AT TIME ZONE 'UTC'
    WHERE jsonb_typeof(c.labels) = 'object'
    GROUP BY 1, 2, 3, 4, 5
  ), summed AS MATERIALIZED (
    SELECT * FROM daily_label_costs d WHERE d.tenant_id = p_tenant_id AND d.day = ANY (p_days)
  ), counted AS (
    SELECT r.*, max(r.place) OVER (PARTITION BY r.day) AS sets
    FROM (SELECT l.*, dense_rank() OVER (PARTITION BY l.day ORDER BY l.labels) AS place FROM lines l) AS r
  ), ledger AS (
    SELECT c.day, CASE WHEN c.sets <= label_sets_max() OR (c.day, c.labels) IN (SELECT d.day, d.labels FROM summed d) THEN c.labels
             ELSE other_labels(c.labels) END AS labels, c.resource, c.kind, c.model,
           sum(c.cost_usd) AS cost_usd, sum(c.unverified_usd) AS unverified_usd, sum(c.operations)::bigint AS operations,
           sum(c.cache_saved_usd) AS cache_saved_usd
    FROM counted c GROUP BY 1, 2, 3, 4, 5
  )
  SELECT day, labels, resource, kind, model, s.cost_usd, coalesce(l.cost_usd, 0), coalesce(l.unverified_usd, 0), coalesce(l.operations, 0),
         coalesce(l.cache_saved_usd, 0)
  FROM ledger l FULL JOIN summed s USING (day, labels, resource, kind, model)
  WHERE (coalesce(s.cost_usd, 0), coalesce(s.operations, 0), coalesce(s.unverified_usd, 0), coalesce(s.cache_saved_usd, 0))
     <> (coalesce(l.cost_usd, 0), coalesce(l.operations, 0), coalesce(l.unverified_usd, 0), coalesce(l.cache_saved_usd, 0))
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.label_values_max()
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$ SELECT 1000 $function$
;

CREATE OR REPLACE FUNCTION copilot_internal.labels_id(p_labels jsonb)
 RETURNS uuid
 LANGUAGE sql
 STABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  SELECT encode(substr(sha256(convert_to(p_labels::text, 'UTF8')), 1, 16), 'hex')::uuid
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.lease_sums()
 RETURNS TABLE(resource_type text, period text, limit_usd numeric, given_usd numeric, used_usd numeric)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  SELECT p.resource_type, p.period, c.whole_limit_usd, l.given_usd, l.used_usd
  FROM cost_quotas p
  CROSS JOIN LATERAL current_quota(p) AS c
  CROSS JOIN LATERAL (
    SELECT coalesce(sum(now.limit_usd), 0) AS given_usd, coalesce(sum(now.spent_usd + lease.reserved_usd), 0) AS used_usd
    FROM cost_quotas lease, LATERAL current_quota(lease) AS now WHERE lease.lease_of = p.quota_id) AS l
  WHERE p.tenant_id IS NULL
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.ledger_mark(p_tenant_id text)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
BEGIN
  PERFORM lock_tenant(p_tenant_id);
  RETURN (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM cost_records_cost_record_id_seq);
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.limit_of_call(p_tenant_id text, p_user_id text, p_resource text)
 RETURNS numeric
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  SELECT least(coalesce(min(now_is.whole_limit_usd) FILTER (WHERE q.tenant_id IS NOT NULL), 0),
               min(now_is.whole_limit_usd) FILTER (WHERE q.tenant_id IS NULL))
  FROM cost_quotas q CROSS JOIN LATERAL current_quota(q) AS now_is
  WHERE q.resource_type IN ('all', p_resource)
    AND (q.tenant_id IS NULL
         OR (q.tenant_id = p_tenant_id AND (q.scope = 'tenant' OR (q.scope = 'user' AND q.scope_id = p_user_id))))
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.list_platform_quotas()
 RETURNS TABLE(scope text, scope_id text, resource_type text, period text, limit_usd numeric, topup_usd numeric, spent_usd numeric, reserved_usd numeric, leased_usd numeric, warning_threshold numeric, more_warning_thresholds numeric[], period_start timestamp with time zone, period_end timestamp with time zone)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  SELECT p.scope, p.scope_id, p.resource_type, p.period, p.limit_usd,
         c.topup_usd, l.spent, l.reserved, l.leased, p.warning_threshold,
         p.more_warning_thresholds, b.period_start, b.period_end
  FROM cost_quotas p
  CROSS JOIN LATERAL current_quota(p) AS c
  CROSS JOIN LATERAL period_bounds(p.period, greatest(now(), p.period_start)) AS b
  CROSS JOIN LATERAL (
    SELECT coalesce(sum(now.spent_usd), 0) AS spent, coalesce(sum(lease.reserved_usd), 0) AS reserved,
           coalesce(sum(greatest(now.limit_usd, now.spent_usd + lease.reserved_usd)), 0) AS leased
    FROM cost_quotas lease, LATERAL current_quota(lease) AS now WHERE lease.lease_of = p.quota_id) AS l
  WHERE p.tenant_id IS NULL
  ORDER BY p.resource_type, p.period
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.list_tenants()
 RETURNS TABLE(tenant_id text, name text, frozen_reason text, limit_usd numeric, spent_usd numeric, reserved_usd numeric, created_at timestamp with time zone)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  SELECT t.tenant_id, t.name, t.frozen_reason, c.whole_limit_usd, c.spent_usd, q.reserved_usd, t.created_at
  FROM tenants t
  LEFT JOIN cost_quotas q ON q.tenant_id = t.tenant_id AND q.scope = 'tenant' AND q.resource_type = 'all' AND q.period = 'month'
  LEFT JOIN LATERAL current_quota(q) AS c ON q.quota_id IS NOT NULL
  WHERE t.deleted_at IS NULL
  ORDER BY t.tenant_id
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.load_budget_batch(p_tenant_id text, p_operation_ids uuid[], p_user_ids text[], p_due_max integer)
 RETURNS json
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
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
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.lock_payers(p_tenant_id text, p_user_ids text[])
 RETURNS uuid[]
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
BEGIN
  PERFORM add_leases(ARRAY[p_tenant_id])
  WHERE EXISTS (SELECT FROM cost_quotas p WHERE p.tenant_id IS NULL
    AND (SELECT true FROM cost_quotas l WHERE l.tenant_id = p_tenant_id AND l.scope = 'platform' AND l.scope_id = p.scope_id
         AND l.lease_of = p.quota_id LIMIT 1) IS NULL);
  IF cardinality(p_user_ids) > 0 THEN
    PERFORM add_user_quotas(p_tenant_id, p_user_ids);
  END IF;
  RETURN ARRAY(
    SELECT locked.quota_id FROM quotas_of(p_tenant_id, p_user_ids, '{}') AS covering
    CROSS JOIN LATERAL (SELECT q.quota_id FROM cost_quotas q WHERE q.quota_id = covering.quota_id FOR NO KEY UPDATE) AS locked);
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.lock_platform()
 RETURNS void
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  SELECT FROM cost_quotas WHERE tenant_id IS NULL ORDER BY quota_id FOR NO KEY UPDATE
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.lock_quotas(p_tenant_id text, p_user_ids text[])
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
BEGIN
  IF NOT lock_tenant(p_tenant_id) THEN
    RETURN false;
  END IF;
  PERFORM lock_payers(p_tenant_id, p_user_ids);
  RETURN true;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.lock_run_limits(p_tenant_id text, p_asked jsonb, p_run_ids uuid[])
 RETURNS json
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
DECLARE
  v_asked uuid[] := ARRAY(SELECT (a ->> 'id')::uuid FROM jsonb_array_elements(p_asked) AS a);
  v_ids uuid[];
  v_limits json;
BEGIN
  PERFORM add_run_limits(p_tenant_id, p_asked);
  v_ids := ARRAY(
    SELECT unnest(p_run_ids)
    UNION SELECT unnest(l.run_id || l.ancestor_ids) FROM run_limits l WHERE l.tenant_id = p_tenant_id AND l.run_id = ANY (v_asked));
  SELECT coalesce(json_agg(json_build_object('runId', l.run_id, 'ancestorIds', l.ancestor_ids, 'limitUsd', l.limit_usd::text,
      'spentUsd', l.spent_usd::text, 'reservedUsd', l.reserved_usd::text)), '[]')
  INTO v_limits
  FROM (SELECT * FROM run_limits WHERE tenant_id = p_tenant_id AND run_id = ANY (v_ids) ORDER BY run_id FOR NO KEY UPDATE) AS l;
  RETURN v_limits;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.lock_tenant(p_tenant_id text)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
BEGIN
  PERFORM 1 FROM tenants WHERE tenant_id = p_tenant_id FOR NO KEY UPDATE;
  RETURN FOUND;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.look_after(p_max integer)
 RETURNS SETOF text
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
DECLARE
  v_last text;
  v_waiting text[];
BEGIN
  -- In the order in which leases are drawn, so that two that raise the same alerts do not wait for each other.
  PERFORM raise_platform_alerts(p.quota_id) FROM (
    SELECT quota_id FROM cost_quotas WHERE tenant_id IS NULL AND period_end > clock_timestamp() ORDER BY quota_id) AS p;
  -- Two looks at once take turns.
  SELECT looked_at_tenant INTO v_last FROM installation FOR UPDATE;
  v_waiting := ARRAY(
    SELECT tenant_id FROM (
      SELECT r.tenant_id FROM reservations r WHERE r.status = 'granted' AND r.expires_at < clock_timestamp() - interval '5 seconds'
      UNION
      SELECT r.tenant_id FROM reservations r
      WHERE r.outcome IS NOT NULL AND NOT r.outcome_folded AND r.outcome_at < clock_timestamp() - interval '30 seconds'
      UNION
      SELECT m.tenant_id FROM mandates m
      WHERE m.needed_at < clock_timestamp() - interval '5 seconds' OR m.left_at < clock_timestamp() - interval '70 seconds'
      UNION
      -- Whether the money is there for it is decided by whoever wakes it: this only leaves out what surely has to wait on.
      SELECT w.tenant_id FROM money_waiters w
      WHERE w.is_woken AND coalesce(w.woken_at, w.waiting_since) < clock_timestamp() - interval '30 seconds'
        -- Of each by itself, so that limits are found by their key, of however many users and labels there are. A step of the version
        -- before says no labels of its own, but asked with them.
        AND (SELECT true FROM cost_quotas q, current_quota(q) AS c
          WHERE q.tenant_id = w.tenant_id AND q.scope IN ('tenant', 'user') AND (q.scope = 'tenant' OR q.scope_id = w.user_id)
            AND q.lease_of IS NULL AND q.resource_type IN ('all', w.resource)
            AND c.whole_limit_usd - c.spent_usd - q.reserved_usd < w.needed_usd LIMIT 1) IS NULL
        AND (SELECT true FROM cost_quotas q, current_quota(q) AS c
          WHERE q.tenant_id = w.tenant_id AND q.scope = 'label' AND q.scope_id = ANY (ARRAY(
              SELECT s.scope_id FROM label_scopes(w.tenant_id, ARRAY[coalesce(w.labels,
                (SELECT r.labels FROM reservations r WHERE r.tenant_id = w.tenant_id AND r.operation_id = w.waiter_id))]) AS s))
            AND q.resource_type IN ('all', w.resource)
            AND c.whole_limit_usd - c.spent_usd - q.reserved_usd < w.needed_usd LIMIT 1) IS NULL
    ) AS waiting
    ORDER BY tenant_id <= v_last, tenant_id
    LIMIT p_max);
  IF cardinality(v_waiting) > 0 THEN
    UPDATE installation SET looked_at_tenant = v_waiting[cardinality(v_waiting)];
  END IF;
  RETURN QUERY SELECT unnest(v_waiting);
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.mandate_state(p_tenant_id text, p_rules text)
 RETURNS TABLE(why text[], open_until timestamp with time zone, rules text, barred_at timestamp with time zone, barred_reason text, barred_by text, granted bigint, denied bigint, granted_usd numeric, left_at timestamp with time zone, needed_at timestamp with time zone)
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  SELECT array_remove(ARRAY[
      CASE
        WHEN m.barred_at IS NOT NULL THEN 'recalled'
        WHEN m.open_until IS NULL AND coalesce(m.rules, '') = '' THEN 'never_opened'
        -- The last draw did not get what a call needed.
        WHEN m.open_until IS NULL AND EXISTS (
          SELECT FROM cost_quotas q WHERE q.tenant_id = p_tenant_id AND q.exhausted_until IS NOT NULL) THEN 'platform_waited_for'
        WHEN m.open_until IS NULL THEN 'closed'
        WHEN m.open_until <= clock_timestamp() THEN 'run_out'
        WHEN m.rules <> p_rules THEN 'other_rules' END], NULL),
    m.open_until, nullif(m.rules, ''), m.barred_at, nullif(m.barred_reason, ''),
    CASE WHEN m.barred_at IS NOT NULL THEN (
      SELECT a.author FROM audit_entries a
      WHERE a.tenant_id = p_tenant_id AND a.action = 'recall_mandate' AND a.created_at >= m.barred_at
      ORDER BY a.audit_entry_id LIMIT 1) END,
    coalesce(m.granted, 0), coalesce(m.denied, 0), coalesce(m.granted_usd, 0), m.left_at, m.needed_at
  FROM (VALUES (p_tenant_id)) AS t (tenant_id)
  LEFT JOIN mandates m ON m.tenant_id = t.tenant_id
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.mandate_states(p_rules text, p_named_max integer)
 RETURNS TABLE(why text[], tenants integer, named jsonb[], late integer)
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  SELECT s.why, count(*)::integer, (array_agg(jsonb_build_object('tenantId', t.tenant_id, 'recalledAt', s.barred_at,
      'recalledBy', s.barred_by, 'recalledReason', s.barred_reason) ORDER BY t.tenant_id))[1:p_named_max],
    (count(*) FILTER (WHERE s.needed_at < clock_timestamp() - interval '2 minutes'))::integer
  FROM tenants t, LATERAL mandate_state(t.tenant_id, p_rules) AS s
  WHERE t.deleted_at IS NULL
  GROUP BY s.why
  ORDER BY s.why
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.move_quotas(p_moves jsonb)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
DECLARE
  v_moved integer;
BEGIN
  UPDATE cost_quotas q
  SET reserved_usd = q.reserved_usd + m.reserved_usd, current_spend_usd = q.current_spend_usd + m.spent_usd,
      topup_usd = q.topup_usd - coalesce(m.taken_back_usd, 0), topup_kept_usd = q.topup_kept_usd - coalesce(m.taken_back_usd, 0),
      updated_at = clock_timestamp()
  FROM jsonb_to_recordset(p_moves) AS m (quota_id uuid, reserved_usd numeric, spent_usd numeric, taken_back_usd numeric)
  WHERE q.quota_id = m.quota_id AND (m.reserved_usd <> 0 OR m.spent_usd <> 0 OR m.taken_back_usd <> 0);
  GET DIAGNOSTICS v_moved = ROW_COUNT;
  RETURN v_moved;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.note_label_values(p_tenant_id text, p_labels jsonb[])
 RETURNS jsonb
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  WITH fresh AS MATERIALIZED (
    SELECT key, value, octet_length(value) > 64 AS is_strange
    FROM (SELECT DISTINCT l.key, l.value FROM unnest(p_labels) AS labels CROSS JOIN LATERAL jsonb_each_text(labels) AS l) AS named
    -- One by one, so that each is found by its key whatever the planner believes of the table's size.
    WHERE value <> 'other'
      AND (SELECT true FROM label_values v WHERE v.tenant_id = p_tenant_id AND v.key = named.key AND v.value = named.value LIMIT 1) IS NULL
  ), placed AS MATERIALIZED (
    SELECT f.key, f.value, f.is_strange OR k.noted + row_number() OVER (PARTITION BY f.key, f.is_strange ORDER BY f.value) > label_values_max() AS is_beyond
    FROM fresh f
    JOIN (SELECT key, (SELECT count(*) FROM label_values v WHERE v.tenant_id = p_tenant_id AND v.key = f.key) AS noted
          FROM fresh f GROUP BY key) AS k USING (key)
  ), noted AS (
    INSERT INTO label_values (tenant_id, key, value)
    SELECT p_tenant_id, key, value FROM placed WHERE NOT is_beyond ORDER BY key, value
    ON CONFLICT DO NOTHING
  )
  SELECT jsonb_object_agg(key, beyond) FROM (SELECT key, jsonb_agg(value) AS beyond FROM placed WHERE is_beyond GROUP BY key) AS found
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.note_limit_change()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
DECLARE
  v_quota cost_quotas := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
BEGIN
  -- A tenant that is deleted takes its limits with it.
  INSERT INTO limit_changes (tenant_id, decision_no, quota_id, is_removed, scope, scope_id, resource_type, period, limit_usd, topup_usd,
    topup_kept_usd, expiring_topups, spent_usd, reserved_usd, period_start, period_end)
  SELECT t.tenant_id, nextval('decision_numbers'), v_quota.quota_id, TG_OP = 'DELETE', v_quota.scope, v_quota.scope_id, v_quota.resource_type,
    v_quota.period, v_quota.limit_usd, v_quota.topup_usd, v_quota.topup_kept_usd, v_quota.expiring_topups, v_quota.current_spend_usd,
    v_quota.reserved_usd, v_quota.period_start, v_quota.period_end
  FROM tenants t WHERE t.tenant_id = v_quota.tenant_id;
  RETURN NULL;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.other_labels(p_labels jsonb)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  SELECT coalesce(jsonb_object_agg(key, 'other'), '{}') FROM jsonb_object_keys(p_labels) AS key
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.period_bounds(period text, at timestamp with time zone, OUT period_start timestamp with time zone, OUT period_end timestamp with time zone)
 RETURNS record
 LANGUAGE sql
 STABLE PARALLEL SAFE
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  SELECT CASE period WHEN 'lifetime' THEN timestamptz '1970-01-01 00:00:00+00' ELSE date_trunc(period, at, 'UTC') END,
         CASE period WHEN 'lifetime' THEN timestamptz '9999-12-31 00:00:00+00'
                     ELSE (date_trunc(period, at AT TIME ZONE 'UTC') + ('1 ' || period)::interval) AT TIME ZONE 'UTC' END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.quota_gauges(p_max integer)
 RETURNS TABLE(tenant_id text, resource_type text, period text, limit_usd numeric, spent_usd numeric, reserved_usd numeric)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  SELECT q.tenant_id, q.resource_type, q.period, c.whole_limit_usd, c.spent_usd, q.reserved_usd
  FROM cost_quotas q, LATERAL current_quota(q) AS c
  WHERE q.scope = 'tenant'
  ORDER BY (c.spent_usd + q.reserved_usd) / greatest(c.whole_limit_usd, 0.000000000001) DESC, q.tenant_id, q.resource_type, q.period
  LIMIT p_max
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.quotas_of(p_tenant_id text, p_user_ids text[], p_label_scope_ids text[])
 RETURNS SETOF cost_quotas
 LANGUAGE sql
 STABLE
AS $function$
  SELECT q.*
  FROM (
    SELECT 'platform' AS scope, 'platform' AS scope_id
    UNION ALL SELECT 'tenant', p_tenant_id
    UNION ALL SELECT 'shadow_tenant', p_tenant_id
    UNION ALL (SELECT DISTINCT s, u FROM pg_catalog.unnest(p_user_ids) AS u, pg_catalog.unnest(ARRAY['user', 'shadow_user']) AS s)
    UNION ALL (SELECT DISTINCT s, l FROM pg_catalog.unnest(p_label_scope_ids) AS l, pg_catalog.unnest(ARRAY['label', 'shadow_label']) AS s)) AS payer
  CROSS JOIN LATERAL (
    SELECT * FROM copilot_internal.cost_quotas c
    WHERE c.tenant_id = p_tenant_id AND c.scope = payer.scope AND c.scope_id = payer.scope_id
    OFFSET 0) AS q
  ORDER BY q.quota_id
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.raise_platform_alerts(p_platform_quota_id uuid, p_refused_usd numeric DEFAULT NULL::numeric)
 RETURNS void
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
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
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.reclaim_leases(p_platform_quota_id uuid, p_missing_usd numeric, p_except_tenant_id text)
 RETURNS numeric
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
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
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.record_budget_batch(p_tenant_id text, p_batch jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
 SET plan_cache_mode TO 'force_generic_plan'
AS $function$
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
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.record_mandate(p_tenant_id text, p_authority jsonb, p_account jsonb, p_left jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
DECLARE
  v_now timestamptz := clock_timestamp();
  v_rules text := nullif(current_setting('spendlock.mandate_rules', true), '');
  v_wake_up_at timestamptz := to_timestamp((p_left ->> 'nextWakeUpMs')::numeric / 1000);
  v_urgent boolean := (p_left ->> 'urgent')::boolean;
  v_awaited boolean := coalesce((p_left ->> 'awaited')::boolean, false);
  v_row mandates;
  v_mandate interval := interval '5 minutes';
  -- An authority looks that often while others decide, and so has the account of them.
  v_look interval := interval '1 minute';
BEGIN
  IF v_rules IS NOT NULL THEN
    UPDATE mandates SET
      granted = granted + (p_account ->> 'granted')::bigint, denied = denied + (p_account ->> 'denied')::bigint,
      granted_usd = granted_usd + (p_account ->> 'grantedUsd')::numeric,
      left_at = coalesce(left_at, v_now),
      needed_at = CASE WHEN v_urgent OR v_awaited OR v_wake_up_at < wake_up_at THEN coalesce(needed_at, v_now) ELSE needed_at END
    WHERE tenant_id = p_tenant_id AND is_mandated(p_tenant_id, v_rules)
    RETURNING * INTO v_row;
    IF NOT FOUND THEN
      RAISE EXCEPTION 'reservation_guard: tenant % has no mandate for the rules %; nothing was recorded', p_tenant_id, v_rules
        USING ERRCODE = 'SL001';
    END IF;
    RETURN jsonb_build_object('leaves', CASE WHEN v_urgent THEN 'now'
      WHEN v_awaited OR v_wake_up_at < v_row.wake_up_at THEN 'soon' END);
  END IF;

  IF p_authority IS NULL THEN
    UPDATE mandates SET open_until = NULL WHERE tenant_id = p_tenant_id AND open_until IS NOT NULL;
    RETURN NULL;
  END IF;
  INSERT INTO mandates AS m (tenant_id, open_until, rules, wake_up_at)
  SELECT p_tenant_id, v_now + v_mandate, p_authority ->> 'rules', least(v_wake_up_at, v_now + v_look)
  WHERE (p_authority ->> 'opens')::boolean OR EXISTS (SELECT FROM mandates WHERE tenant_id = p_tenant_id)
  ON CONFLICT (tenant_id) DO UPDATE SET
    open_until = CASE WHEN m.barred_at IS NOT NULL OR (p_authority ->> 'closes')::boolean THEN NULL
      -- What was decided since it was last looked at is a reason to prolong it.
      WHEN (p_authority ->> 'opens')::boolean OR (m.open_until > v_now AND m.rules = excluded.rules AND m.left_at IS NOT NULL) THEN excluded.open_until
      WHEN m.rules = excluded.rules THEN m.open_until END,
    rules = excluded.rules, wake_up_at = excluded.wake_up_at, left_at = NULL, needed_at = NULL
  RETURNING * INTO v_row;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  RETURN jsonb_build_object('openUntilMs', floor(extract(epoch FROM v_row.open_until) * 1000), 'barred', v_row.barred_at IS NOT NULL,
      'granted', v_row.granted, 'denied', v_row.denied, 'grantedUsd', trim_scale(v_row.granted_usd)::text)
    || CASE WHEN v_row.open_until > v_now
      THEN jsonb_build_object('nextWakeUpMs', floor(extract(epoch FROM v_row.wake_up_at) * 1000)) ELSE '{}' END;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.record_outcome(p_tenant_id text, p_operation_id uuid, p_claim_token uuid, p_outcome text, p_cost_usd numeric, p_usage jsonb, p_result jsonb)
 RETURNS boolean
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  SELECT record_outcome(p_tenant_id, p_operation_id, p_claim_token, p_outcome, p_cost_usd, p_usage, p_result, false)
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.record_outcome(p_tenant_id text, p_operation_id uuid, p_claim_token uuid, p_outcome text, p_cost_usd numeric, p_usage jsonb, p_result jsonb, p_unverified boolean)
 RETURNS boolean
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  WITH written AS (
    UPDATE reservations
    SET outcome = p_outcome, outcome_usd = p_cost_usd, outcome_usage = p_usage, outcome_result = p_result,
        outcome_unverified = p_unverified, outcome_at = clock_timestamp()
    WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id AND claim_token = p_claim_token AND outcome IS NULL
    RETURNING 1)
  SELECT EXISTS (SELECT FROM written) OR EXISTS (
    SELECT FROM reservations
    WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id AND claim_token = p_claim_token AND outcome IS NOT NULL)
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.record_outcomes(p_tenant_id text, p_items jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
DECLARE
  v_operation_ids uuid[] := ARRAY(
    SELECT (item ->> 'operationId')::uuid FROM jsonb_array_elements(p_items) AS item);
  v_answers jsonb;
BEGIN
  PERFORM set_config('spendlock.tenant_id', p_tenant_id, true);
  PERFORM 1 FROM reservations
  WHERE tenant_id = p_tenant_id AND operation_id = ANY (v_operation_ids)
  ORDER BY operation_id FOR UPDATE;
  WITH found AS MATERIALIZED (
    SELECT i.*, r.status, r.outcome, r.outcome_usd,
           r.resource IS NOT NULL AND r.status IN ('granted', 'committed', 'released', 'expired')
             AND (r.claim_token IS NULL OR i."claimToken" IS NOT DISTINCT FROM r.claim_token OR i."anyClaim")
             AND (r.outcome IS NULL OR (r.outcome = 'not_billed' AND i."costUsd" IS NOT NULL))
             AND (i."costUsd" IS NOT NULL OR r.status = 'granted') AND (i."costUsd" IS NULL OR r.envelope_usd IS NULL) AS writes,
           r.claim_token IS NOT NULL AND i."claimToken" IS DISTINCT FROM r.claim_token AND i."anyClaim" IS NOT TRUE AS claimed_elsewhere,
           -- What was let through without a grant has what it was allowed then, whatever the limits are now. A process of the version before
           -- did not note that: no more than a limit would have been granted.
           CASE WHEN i."grantAboveUsd" IS NULL THEN NULL WHEN NOT r.unreserved THEN r.granted_usd
                ELSE coalesce(r.allowed_usd, least(r.requested_usd, limit_of_call(p_tenant_id, r.user_id, r.resource))) END AS granted_usd
    FROM jsonb_to_recordset(p_items) AS i (
           "operationId" uuid, "costUsd" numeric, "claimToken" uuid, "anyClaim" boolean, "grantAboveUsd" numeric, usage jsonb,
           result jsonb)
    LEFT JOIN reservations r
      ON r.tenant_id = p_tenant_id AND r.operation_id = ANY (v_operation_ids) AND r.operation_id = i."operationId"
  ), asked AS MATERIALIZED (
    SELECT f.*, f.writes AND coalesce(f.granted_usd <= f."grantAboveUsd", false) AS unconfirmed FROM found f
  ), written AS (
    UPDATE reservations r
    SET claimed_at = coalesce(r.claimed_at, clock_timestamp()),
        outcome = CASE WHEN a."costUsd" IS NULL THEN 'not_billed' ELSE 'billed' END, outcome_usd = a."costUsd",
        outcome_usage = a.usage, outcome_result = a.result, outcome_at = clock_timestamp(), outcome_folded = false
    FROM asked a
    WHERE a.writes AND NOT a.unconfirmed AND r.tenant_id = p_tenant_id AND r.operation_id = ANY (v_operation_ids)
      AND r.operation_id = a."operationId"
    RETURNING 1)
  SELECT coalesce(jsonb_agg(jsonb_build_object('operationId', a."operationId", 'status', a.status, 'outcome', a.outcome,
    'outcomeUsd', trim_scale(a.outcome_usd)::text, 'written', coalesce(a.writes AND NOT a.unconfirmed, false),
    'unconfirmedAtUsd', CASE WHEN a.unconfirmed THEN trim_scale(a.granted_usd)::text END,
    'claimedElsewhere', coalesce(a.claimed_elsewhere, false))), '[]')
  INTO v_answers FROM asked a;
  RETURN v_answers;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.refuse_price_change()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
BEGIN
  RAISE EXCEPTION 'a price in % is never changed or deleted, since ledger lines name its version; nothing was changed', TG_TABLE_NAME
    USING ERRCODE = 'SL002', HINT = 'Insert a new version with a later effective_from.';
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.refuse_reservation_change()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
BEGIN
  RAISE EXCEPTION 'reservation_guard: the reservation % of % is % and cannot become what was asked (%); nothing was recorded',
    OLD.operation_id, OLD.tenant_id, OLD.status, NEW.status USING ERRCODE = 'SL001';
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.remove_former_defaults(p_tenant_id text)
 RETURNS void
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  DELETE FROM cost_quotas q
  WHERE q.tenant_id = p_tenant_id AND p_tenant_id = current_setting('spendlock.tenant_id', true)
    AND q.scope = 'user' AND q.from_default AND NOT EXISTS (
      SELECT FROM user_quota_defaults d
      WHERE d.tenant_id = q.tenant_id AND d.resource_type = q.resource_type AND d.period = q.period)
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.remove_former_label_defaults(p_tenant_id text)
 RETURNS void
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  DELETE FROM cost_quotas q
  WHERE q.tenant_id = p_tenant_id AND p_tenant_id = current_setting('spendlock.tenant_id', true)
    AND q.scope = 'label' AND q.from_default AND NOT EXISTS (
      SELECT FROM label_quota_defaults d
      WHERE d.tenant_id = q.tenant_id AND d.key = split_part(q.scope_id, ':', 1) AND d.resource_type = q.resource_type AND d.period = q.period)
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.remove_platform_quota(p_resource_type text, p_period text)
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
DECLARE
  v_removed jsonb;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('spendlock.set_platform_quota'));
  PERFORM lock_platform();
  SELECT jsonb_build_object('limitUsd', trim_scale(p.limit_usd)::text, 'topupUsd', trim_scale(p.topup_usd)::text,
    'spentUsd', trim_scale(p.spent_usd)::text, 'reservedUsd', trim_scale(p.reserved_usd)::text)
  INTO v_removed FROM list_platform_quotas() AS p WHERE p.resource_type = p_resource_type AND p.period = p_period;
  IF v_removed IS NULL THEN
    RETURN NULL;
  END IF;
  PERFORM 1 FROM tenants ORDER BY tenant_id FOR NO KEY UPDATE;
  DELETE FROM cost_quotas WHERE tenant_id IS NULL AND resource_type = p_resource_type AND period = p_period;
  RETURN v_removed;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.remove_quota(p_tenant_id text, p_scope text, p_scope_id text, p_resource_type text, p_period text)
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
DECLARE
  v_removed jsonb;
BEGIN
  IF p_scope = 'label' THEN
    UPDATE cost_quotas q SET limit_usd = d.limit_usd, warning_threshold = d.warning_threshold, more_warning_thresholds = '{}', topup_usd = 0,
      topup_kept_usd = 0, expiring_topups = NULL, topup_expires_at = NULL, from_default = true, updated_at = clock_timestamp()
    FROM label_quota_defaults d, cost_quotas old
    WHERE q.tenant_id = p_tenant_id AND p_tenant_id = current_setting('spendlock.tenant_id', true)
      AND q.scope = p_scope AND q.scope_id = p_scope_id AND q.resource_type = p_resource_type AND q.period = p_period AND NOT q.from_default
      AND old.quota_id = q.quota_id
      AND d.tenant_id = q.tenant_id AND d.key = split_part(q.scope_id, ':', 1) AND d.resource_type = q.resource_type AND d.period = q.period
    RETURNING jsonb_build_object('limitUsd', trim_scale(old.limit_usd)::text, 'topupUsd', trim_scale(old.topup_usd)::text,
      'spentUsd', trim_scale(old.current_spend_usd)::text, 'reservedUsd', trim_scale(old.reserved_usd)::text) INTO v_removed;
    IF v_removed IS NOT NULL THEN
      RETURN v_removed;
    END IF;
  END IF;
  DELETE FROM cost_quotas q
  WHERE q.tenant_id = p_tenant_id AND p_tenant_id = current_setting('spendlock.tenant_id', true)
    AND q.scope = p_scope AND q.scope IN ('tenant', 'user', 'label', 'shadow_tenant', 'shadow_user', 'shadow_label') AND q.scope_id = p_scope_id
    AND q.resource_type = p_resource_type AND q.period = p_period AND NOT q.from_default
  RETURNING jsonb_build_object('limitUsd', trim_scale(q.limit_usd)::text, 'topupUsd', trim_scale(q.topup_usd)::text,
    'spentUsd', trim_scale(q.current_spend_usd)::text, 'reservedUsd', trim_scale(q.reserved_usd)::text) INTO v_removed;
  IF v_removed IS NOT NULL AND p_scope = 'user' THEN
    PERFORM add_user_quotas(p_tenant_id, ARRAY[p_scope_id]);
  END IF;
  RETURN v_removed;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.repair_books(p_tenant_id text, p_operation_ids uuid[], p_days date[], p_api_key_id uuid, p_author text, p_reason text)
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
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
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.reservation_as_json(r reservations)
 RETURNS json
 LANGUAGE sql
 STABLE
AS $function$
  SELECT pg_catalog.json_build_object(
    'operationId', r.operation_id, 'userId', r.user_id, 'runId', r.run_id, 'kind', r.kind, 'step', r.step,
    'attempt', r.attempt, 'resource', r.resource, 'model', r.model, 'priceVersion', r.price_version,
    'onExpiry', r.on_expiry, 'unreserved', r.unreserved, 'allowedUsd', r.allowed_usd::text,
    'parentId', r.parent_id, 'heldOn', r.held_on, 'envelopeUsd', r.envelope_usd::text, 'returnedUsd', r.returned_usd::text,
    'limitIds', r.limit_ids, 'asker', r.asker, 'labels', r.labels, 'sentLabels', r.sent_labels,
    'requestedUsd', r.requested_usd::text, 'minimumUsd', r.minimum_usd::text, 'grantedUsd', r.granted_usd::text,
    'status', r.status, 'refusal', r.refusal, 'claimed', r.claimed_at IS NOT NULL,
    'decidedAtMs', pg_catalog.floor(extract(epoch FROM r.decided_at) * 1000),
    'expiresAtMs', pg_catalog.floor(extract(epoch FROM r.expires_at) * 1000),
    'outcome', r.outcome, 'outcomeUsd', r.outcome_usd::text, 'outcomeFolded', r.outcome_folded,
    'outcomeUnverified', r.outcome_unverified,
    'settlement', r.settlement, 'committedUsd', r.committed_usd::text, 'overrunUsd', r.overrun_usd::text,
    'postedAtMs', pg_catalog.floor(extract(epoch FROM r.posted_at) * 1000),
    'endedAtMs', pg_catalog.floor(extract(epoch FROM r.ended_at) * 1000))
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.reset_ended_periods(p_tenant_id text, p_now timestamp with time zone, p_user_ids text[] DEFAULT NULL::text[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
BEGIN
  PERFORM reset_quotas(CASE WHEN p_user_ids IS NOT NULL THEN ARRAY(
    SELECT quota_id FROM quotas_of(p_tenant_id, p_user_ids, '{}')) ELSE ARRAY(
    SELECT quota_id FROM cost_quotas
    WHERE tenant_id = p_tenant_id AND (period_end <= p_now OR topup_expires_at <= p_now) AND scope IN ('platform', 'tenant', 'user')) END, p_now);
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.reset_label_periods(p_tenant_id text, p_now timestamp with time zone, p_scope_ids text[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
BEGIN
  PERFORM reset_quotas(ARRAY(SELECT quota_id FROM quotas_of(p_tenant_id, '{}', p_scope_ids) WHERE scope IN ('label', 'shadow_label')), p_now);
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.reset_platform_period(p_platform_quota_id uuid, p_now timestamp with time zone)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
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
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.reset_quotas(p_quota_ids uuid[], p_now timestamp with time zone)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
DECLARE
  v_quota_id uuid;
BEGIN
  FOR v_quota_id IN
    SELECT ended.quota_id FROM unnest(p_quota_ids) AS named (quota_id)
    CROSS JOIN LATERAL (SELECT q.quota_id FROM cost_quotas q WHERE q.quota_id = named.quota_id
      AND (q.period_end <= p_now OR q.topup_expires_at <= p_now) OFFSET 0) AS ended
  LOOP
    UPDATE cost_quotas q
    SET (topup_usd, topup_kept_usd, expiring_topups, topup_expires_at) = (SELECT t.* FROM topups_at(q, p_now) AS t), updated_at = p_now
    WHERE q.quota_id = v_quota_id;
    UPDATE cost_quotas q
    SET current_spend_usd = 0, (period_start, period_end) = (SELECT b.period_start, b.period_end FROM period_bounds(q.period, p_now) AS b),
        limit_usd = CASE WHEN q.lease_of IS NULL THEN q.limit_usd ELSE q.reserved_usd END, exhausted_until = NULL
    WHERE q.quota_id = v_quota_id AND q.period_end <= p_now;
  END LOOP;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.return_leases(p_tenant_id text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
BEGIN
  PERFORM lock_tenant(p_tenant_id);
  UPDATE cost_quotas SET limit_usd = current_spend_usd + reserved_usd, updated_at = clock_timestamp()
  WHERE tenant_id = p_tenant_id AND lease_of IS NOT NULL AND limit_usd > current_spend_usd + reserved_usd;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.runs_left_holding(p_ended_for interval, p_max integer)
 RETURNS TABLE(tenant_id text, run_id uuid)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  SELECT DISTINCT r.tenant_id, r.run_id
  FROM reservations r
  JOIN runs u ON u.tenant_id = r.tenant_id AND u.run_id = r.run_id
  WHERE r.status = 'granted' AND r.claimed_at IS NULL AND r.attempt IS NOT NULL
    AND u.status <> 'running' AND u.ended_at < clock_timestamp() - p_ended_for
  LIMIT p_max
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.sandbox_owners(p_operation_ids uuid[], p_run_ids uuid[])
 RETURNS TABLE(run_id uuid, tenant_id text, run_status text, operation_id uuid, kind text, price_version text, claimed_at timestamp with time zone, is_open boolean)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  SELECT r.run_id, r.tenant_id, r.status, o.operation_id, o.kind, o.price_version, o.claimed_at,
         o.status = 'granted' AND o.claimed_at IS NOT NULL AND o.outcome IS NULL
  FROM runs r
  LEFT JOIN reservations o ON o.run_id = r.run_id AND o.tenant_id = r.tenant_id AND o.kind LIKE 'sandbox.%' AND o.claimed_at IS NOT NULL
    AND (o.operation_id = ANY (p_operation_ids) OR (o.status = 'granted' AND o.outcome IS NULL))
  WHERE r.run_id = ANY (p_run_ids)
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.seed_label_quotas(p_tenant_id text, p_quota jsonb, p_spend jsonb, p_mark bigint)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
DECLARE
  v_key text := p_quota ->> 'key';
  v_value text := p_quota ->> 'value';
  v_resource text := p_quota ->> 'resourceType';
  v_values text[];
BEGIN
  -- What is held open is noted, too: what it counts for is not to change.
  PERFORM note_label_values(p_tenant_id, ARRAY(
    SELECT DISTINCT labels FROM reservations WHERE tenant_id = p_tenant_id AND status = 'granted' AND jsonb_typeof(labels) = 'object'));
  IF v_value IS NULL THEN
    v_values := ARRAY(SELECT value FROM label_values WHERE tenant_id = p_tenant_id AND key = v_key UNION SELECT 'other');
  ELSE
    PERFORM add_label_quotas(p_tenant_id, ARRAY[jsonb_build_object(v_key, v_value)]);
    PERFORM note_label_values(p_tenant_id, ARRAY[jsonb_build_object(v_key, v_value)]);
    v_values := ARRAY[v_value];
    IF v_value <> 'other' AND NOT EXISTS (
      SELECT FROM label_values WHERE tenant_id = p_tenant_id AND key = v_key AND value = v_value) THEN
      RETURN false;
    END IF;
  END IF;
  INSERT INTO cost_quotas (tenant_id, scope, scope_id, resource_type, period, limit_usd, warning_threshold, more_warning_thresholds,
                           from_default, period_start, period_end, current_spend_usd, reserved_usd)
  SELECT p_tenant_id, coalesce(p_quota ->> 'scope', 'label'), v_key || ':' || v.value, v_resource, p_quota ->> 'period', (p_quota ->> 'limitUsd')::numeric,
         coalesce((p_quota ->> 'warningThreshold')::numeric, 0.80),
         ARRAY(SELECT jsonb_array_elements_text(p_quota -> 'moreWarningThresholds')::numeric), v_value IS NULL, b.period_start, b.period_end,
         coalesce(s.usd, 0) + coalesce(n.usd, 0), coalesce(o.usd, 0)
  FROM unnest(v_values) AS v (value)
  CROSS JOIN period_bounds(p_quota ->> 'period', clock_timestamp()) AS b
  -- Nothing of it where the period has begun since.
  LEFT JOIN (
    SELECT value, period_start, sum(spent_usd) AS usd
    FROM jsonb_to_recordset(p_spend) AS s (period text, period_start timestamptz, value text, resource text, spent_usd numeric)
    WHERE period = p_quota ->> 'period' AND v_resource IN ('all', resource) GROUP BY 1, 2) AS s
    ON s.value = v.value AND s.period_start = b.period_start
  LEFT JOIN (
    SELECT l.labels ->> v_key AS value, sum(l.amount_usd) AS usd
    FROM cost_records l, period_bounds(p_quota ->> 'period', clock_timestamp()) AS p
    WHERE l.cost_record_id > p_mark AND l.tenant_id = p_tenant_id AND l.labels ? v_key AND v_resource IN ('all', l.resource)
      AND l.posted_at >= p.period_start AND l.posted_at < p.period_end
    GROUP BY 1) AS n ON n.value = v.value
  LEFT JOIN (
    -- Each value once, of however many reservations.
    SELECT counted_labels(p_tenant_id, jsonb_build_object(v_key, r.value)) ->> v_key AS value, sum(r.usd) AS usd
    FROM (SELECT labels ->> v_key AS value, sum(granted_usd) AS usd FROM reservations
          WHERE tenant_id = p_tenant_id AND status = 'granted' AND labels ? v_key AND (v_resource IN ('all', resource) OR v_resource = ANY (held_on)) GROUP BY 1) AS r
    GROUP BY 1) AS o ON o.value = v.value
  ON CONFLICT DO NOTHING;
  RETURN true;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.set_platform_quota(p_resource_type text, p_period text, p_limit_usd numeric, p_warning_threshold numeric, p_more_warning_thresholds numeric[])
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
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
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.sum_costs_by_day()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
BEGIN
  INSERT INTO daily_costs AS d (tenant_id, day, resource, kind, model, user_id, cost_usd, unverified_usd, operations, cache_saved_usd)
  SELECT tenant_id, (posted_at AT TIME ZONE 'UTC')::date, resource, kind, coalesce(model, ''), coalesce(user_id, ''),
         sum(amount_usd), sum(unverified_usd), count(*) FILTER (WHERE entry = 'commit'), sum(cache_saved(usage))
  FROM recorded GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6
  ON CONFLICT (tenant_id, day, resource, kind, model, user_id) DO UPDATE
  SET cost_usd = d.cost_usd + excluded.cost_usd, unverified_usd = d.unverified_usd + excluded.unverified_usd,
      operations = d.operations + excluded.operations, cache_saved_usd = d.cache_saved_usd + excluded.cache_saved_usd;
  IF NOT EXISTS (SELECT FROM recorded WHERE jsonb_typeof(labels) = 'object') THEN
    RETURN NULL;
  END IF;

  WITH lines AS MATERIALIZED (
    SELECT tenant_id, (posted_at AT TIME ZONE 'UTC')::date AS day, labels, labels_id(labels) AS labels_id, resource, kind,
           coalesce(model, '') AS model, sum(amount_usd) AS cost_usd, sum(unverified_usd) AS unverified_usd,
           count(*) FILTER (WHERE entry = 'commit') AS operations, sum(cache_saved(usage)) AS cache_saved_usd
    FROM recorded WHERE jsonb_typeof(labels) = 'object' GROUP BY 1, 2, 3, 5, 6, 7
  ), fresh AS MATERIALIZED (
    SELECT s.tenant_id, s.day, s.labels_id,
           coalesce((SELECT c.sets FROM daily_label_sets c WHERE c.tenant_id = s.tenant_id AND c.day = s.day), 0)
             + row_number() OVER (PARTITION BY s.tenant_id, s.day ORDER BY s.labels_id) AS place
    FROM (SELECT DISTINCT tenant_id, day, labels_id FROM lines) AS s
    -- One by one, so that each is found by its key whatever the planner believes of the table's size.
    WHERE (SELECT true FROM daily_label_costs d
           WHERE d.tenant_id = s.tenant_id AND d.day = s.day AND d.labels_id = s.labels_id LIMIT 1) IS NULL
  ), counted AS (
    INSERT INTO daily_label_sets AS c (tenant_id, day, sets)
    SELECT tenant_id, day, count(*) FROM fresh WHERE place <= label_sets_max() GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (tenant_id, day) DO UPDATE SET sets = c.sets + excluded.sets
  ), bounded AS (
    SELECT tenant_id, day, CASE WHEN (tenant_id, day, labels_id) IN (
             SELECT f.tenant_id, f.day, f.labels_id FROM fresh f WHERE f.place > label_sets_max()) THEN other_labels(labels) ELSE labels END AS labels,
           resource, kind, model, cost_usd, unverified_usd, operations, cache_saved_usd
    FROM lines
  )
  INSERT INTO daily_label_costs AS d (tenant_id, day, labels_id, labels, resource, kind, model, cost_usd, unverified_usd, operations,
    cache_saved_usd)
  SELECT tenant_id, day, labels_id(labels), labels, resource, kind, model, sum(cost_usd), sum(unverified_usd), sum(operations),
         sum(cache_saved_usd)
  FROM bounded GROUP BY 1, 2, 4, 5, 6, 7 ORDER BY 1, 2, 3, 5, 6, 7
  ON CONFLICT (tenant_id, day, labels_id, resource, kind, model) DO UPDATE
  SET cost_usd = d.cost_usd + excluded.cost_usd, unverified_usd = d.unverified_usd + excluded.unverified_usd,
      operations = d.operations + excluded.operations, cache_saved_usd = d.cache_saved_usd + excluded.cache_saved_usd;
  RETURN NULL;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.take_back_topup()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
DECLARE
  v_kept_usd numeric := least(NEW.topup_kept_usd, greatest(NEW.current_spend_usd + NEW.reserved_usd - NEW.limit_usd, 0));
BEGIN
  NEW.topup_usd := NEW.topup_usd - NEW.topup_kept_usd + v_kept_usd;
  NEW.topup_kept_usd := v_kept_usd;
  RETURN NEW;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.take_due_alerts(p_max integer, p_lease interval)
 RETURNS TABLE(alert_id uuid, tenant_id text, kind text, threshold numeric, details jsonb, tries integer)
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  SELECT * FROM take_due_alerts(p_max, p_lease, ARRAY['quota_warning', 'quota_exceeded', 'overrun'])
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.take_due_alerts(p_max integer, p_lease interval, p_kinds text[])
 RETURNS TABLE(alert_id uuid, tenant_id text, kind text, threshold numeric, details jsonb, tries integer)
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  UPDATE quota_alerts a SET tries = a.tries + 1, next_try_at = clock_timestamp() + p_lease
  FROM (
    SELECT u.alert_id FROM quota_alerts u WHERE u.sent_at IS NULL AND u.next_try_at <= clock_timestamp() AND u.kind = ANY (p_kinds)
    ORDER BY u.next_try_at, u.raised_at LIMIT p_max FOR UPDATE SKIP LOCKED
  ) AS due
  WHERE a.alert_id = due.alert_id
  RETURNING a.alert_id, a.tenant_id, a.kind, a.threshold, a.details, a.tries
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.take_unseen_runs(p_unseen_for interval, p_max integer)
 RETURNS TABLE(tenant_id text, run_id uuid, workflow_id text, seen_at text)
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  UPDATE runs r SET seen_at = clock_timestamp()
  FROM (
    SELECT u.run_id FROM runs u WHERE u.status = 'running' AND u.seen_at < clock_timestamp() - p_unseen_for
    ORDER BY u.seen_at LIMIT p_max FOR NO KEY UPDATE SKIP LOCKED
  ) AS unseen
  WHERE r.run_id = unseen.run_id
  RETURNING r.tenant_id, r.run_id, r.workflow_id, r.seen_at::text
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.take_unseen_runs(p_unseen_for interval, p_max integer, p_namespace text)
 RETURNS TABLE(tenant_id text, run_id uuid, workflow_id text, seen_at text)
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  UPDATE runs r SET seen_at = clock_timestamp()
  FROM (
    SELECT u.run_id FROM runs u
    WHERE u.status = 'running' AND u.seen_at < clock_timestamp() - p_unseen_for
      AND (u.namespace = p_namespace OR u.namespace IS NULL AND (
        SELECT min(n.namespace) = p_namespace AND max(n.namespace) = p_namespace FROM runs n WHERE n.namespace IS NOT NULL))
    ORDER BY u.seen_at LIMIT p_max FOR NO KEY UPDATE SKIP LOCKED
  ) AS unseen
  WHERE r.run_id = unseen.run_id
  RETURNING r.tenant_id, r.run_id, r.workflow_id, r.seen_at::text
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.tell_also(p_tenant_id text, p_operation_ids uuid[], p_askers text[])
 RETURNS void
 LANGUAGE sql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  UPDATE reservations r SET asker = CASE WHEN cardinality(others.askers) > 8 THEN '*' ELSE array_to_string(others.askers, ' ') END
  FROM (
    SELECT o.operation_id, cardinality(string_to_array(o.asker, ' ')) AS told_before,
      string_to_array(o.asker, ' ') ||
        ARRAY (SELECT unnest(told.askers) EXCEPT SELECT unnest(string_to_array(o.asker, ' '))) AS askers
    FROM (
      SELECT operation_id, array_agg(asker) AS askers FROM unnest(p_operation_ids, p_askers) AS t (operation_id, asker)
      GROUP BY operation_id) AS told
    JOIN reservations o ON o.tenant_id = p_tenant_id AND o.operation_id = told.operation_id
    WHERE o.status = 'granted' AND o.claimed_at IS NULL AND o.asker <> '*'
    ORDER BY o.operation_id FOR UPDATE OF o) AS others
  WHERE r.tenant_id = p_tenant_id AND r.operation_id = others.operation_id
    AND cardinality(others.askers) > others.told_before
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.tell_key_changed()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
BEGIN
  PERFORM pg_notify('spendlock_keys', OLD.api_key_id::text);
  RETURN NULL;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.told_room(p_tenant_id text, p_user_id text, p_resource text)
 RETURNS numeric
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended('told ' || p_tenant_id, 7238));
  RETURN (
    SELECT greatest(coalesce(min(now_is.whole_limit_usd + greatest(now_is.whole_limit_usd, 1) - now_is.spent_usd - q.reserved_usd - coalesce(open.usd, 0)), 0), 0)
    FROM cost_quotas q CROSS JOIN LATERAL current_quota(q) AS now_is
    LEFT JOIN LATERAL (
      SELECT sum(coalesce(r.outcome_usd, r.allowed_usd, r.requested_usd)) AS usd
      FROM reservations r
      WHERE r.tenant_id = p_tenant_id AND r.status = 'granted' AND r.unreserved
        AND q.resource_type IN ('all', r.resource) AND (q.scope = 'tenant' OR r.user_id = q.scope_id)) AS open ON true
    WHERE q.tenant_id = p_tenant_id AND q.lease_of IS NULL AND q.resource_type IN ('all', p_resource)
      AND (q.scope = 'tenant' OR (q.scope = 'user' AND q.scope_id = p_user_id)));
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.topups_at(q cost_quotas, p_at timestamp with time zone, OUT topup_usd numeric, OUT kept_usd numeric, OUT expiring jsonb, OUT expires_at timestamp with time zone)
 RETURNS record
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
DECLARE
  v_is_over boolean := q.period_end <= p_at;
  v_period_start timestamptz;
  v_spent_usd numeric := q.current_spend_usd;
  v_until_period_end_usd numeric;
  -- What those that outlive the period have paid of what was spent in it; null before its end.
  v_paid_usd numeric;
  v_left_usd numeric;
  v_expiring_usd numeric := 0;
  v_topup record;
BEGIN
  kept_usd := q.topup_kept_usd;
  v_until_period_end_usd := q.topup_usd - q.topup_kept_usd - coalesce((
    SELECT sum("amountUsd") FROM jsonb_to_recordset(q.expiring_topups) AS t ("amountUsd" numeric)), 0);
  IF v_is_over THEN
    SELECT b.period_start INTO v_period_start FROM period_bounds(q.period, p_at) AS b;
  END IF;
  FOR v_topup IN
    SELECT t."amountUsd" AS amount_usd, t."expiresAt" AS expires_at
    FROM jsonb_to_recordset(q.expiring_topups) AS t ("amountUsd" numeric, "expiresAt" timestamptz) ORDER BY t."expiresAt"
  LOOP
    IF v_is_over AND v_paid_usd IS NULL AND v_topup.expires_at > q.period_end THEN
      v_paid_usd := greatest(v_spent_usd - q.limit_usd - kept_usd - v_until_period_end_usd, 0);
      v_spent_usd := 0;
      kept_usd := 0;
      v_until_period_end_usd := 0;
    END IF;
    v_left_usd := greatest(v_topup.amount_usd - coalesce(v_paid_usd, 0), 0);
    IF v_paid_usd IS NOT NULL THEN
      v_paid_usd := greatest(v_paid_usd - v_topup.amount_usd, 0);
    END IF;
    IF v_topup.expires_at > p_at THEN
      IF v_left_usd > 0 THEN
        expiring := coalesce(expiring, '[]') || jsonb_build_object('amountUsd', trim_scale(v_left_usd)::text, 'expiresAt', v_topup.expires_at);
        expires_at := coalesce(expires_at, v_topup.expires_at);
        v_expiring_usd := v_expiring_usd + v_left_usd;
      END IF;
    ELSIF v_paid_usd IS NULL OR v_topup.expires_at > v_period_start THEN
      kept_usd := kept_usd + least(v_left_usd, greatest(v_spent_usd + q.reserved_usd - q.limit_usd - kept_usd, 0));
    END IF;
  END LOOP;
  IF v_is_over AND v_paid_usd IS NULL THEN
    kept_usd := 0;
    v_until_period_end_usd := 0;
  END IF;
  topup_usd := kept_usd + v_until_period_end_usd + v_expiring_usd;
END
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.unanswered_conversations(p_for interval, p_max integer)
 RETURNS TABLE(tenant_id text, run_id uuid, workflow_id text, turn_id uuid)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  SELECT DISTINCT ON (t.run_id) t.tenant_id, t.run_id, r.workflow_id, t.turn_id
  FROM turns t JOIN runs r ON r.run_id = t.run_id AND r.status = 'running'
  WHERE t.status = 'queued' AND t.created_at < clock_timestamp() - p_for
    AND NOT EXISTS (SELECT FROM turns b WHERE b.run_id = t.run_id AND b.status = 'running')
  ORDER BY t.run_id, t.number LIMIT p_max
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.untold_decisions(p_for interval, p_max integer)
 RETURNS TABLE(tenant_id text, approval_id uuid, workflow_id text)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  SELECT a.tenant_id, a.approval_id, r.workflow_id
  FROM approvals a JOIN runs r ON r.run_id = a.run_id AND r.status = 'running'
  WHERE a.told_at IS NULL AND a.status IN ('approved', 'refused', 'answered') AND a.decided_at < clock_timestamp() - p_for
  ORDER BY a.decided_at LIMIT p_max
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.untold_money_answers(p_for interval, p_max integer)
 RETURNS TABLE(tenant_id text, request_id uuid, workflow_id text)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
  SELECT r.tenant_id, r.request_id, r.workflow_id
  FROM money_waiters w JOIN money_requests r ON r.waiter_id = w.waiter_id
  WHERE r.status IN ('granted', 'refused') AND r.told_to IS NULL AND r.signalled_at IS NULL AND r.decided_at < clock_timestamp() - p_for
  ORDER BY r.decided_at LIMIT p_max
$function$
;

CREATE OR REPLACE FUNCTION copilot_internal.withdraw_money_requests()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'copilot_internal', 'pg_temp'
AS $function$
BEGIN
  UPDATE money_requests SET status = 'withdrawn', decided_at = clock_timestamp() WHERE waiter_id = OLD.waiter_id AND status = 'pending';
  RETURN NULL;
END
$function$
;
