-- Reservations, the ledger, and what was spent by day.
SET LOCAL ROLE spendlock_owner;

-- One row per paid attempt, named by its operation id. `status` moves once from granted to an end:
--   granted → committed (at the actual cost, or at the estimate as unverified) | released | expired
-- denied and rejected are ends from the start. A release that overtook its reserve leaves a released row without a request. What may
-- become of a row is guarded by record_budget_batch and refuse_reservation_change.
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
  on_expiry text CHECK (on_expiry IN ('release', 'settle')),
  -- Goes on without a grant, because the authority did not answer and the policy allows it.
  unreserved boolean NOT NULL DEFAULT false,
  -- The outcome is only a part: the provider billed at least so much, and nobody can price the rest. It is settled at that part,
  -- unverified, and corrected as any other estimate.
  outcome_unverified boolean NOT NULL DEFAULT false,
  PRIMARY KEY (tenant_id, operation_id),
  CHECK ((outcome IS NULL) = (outcome_at IS NULL)),
  CHECK ((outcome = 'billed') = (outcome_usd IS NOT NULL)),
  CHECK ((status IN ('committed', 'released', 'expired')) = (settlement IS NOT NULL)),
  CHECK ((status = 'committed') = (committed_usd IS NOT NULL))
);
-- Installations have it as it was added to their rows, none of which had to be looked at.
ALTER TABLE copilot_internal.reservations ADD CONSTRAINT reservations_unverified_outcome
  CHECK (NOT outcome_unverified OR outcome = 'billed') NOT VALID;
CREATE INDEX reservations_open ON copilot_internal.reservations (tenant_id, expires_at) WHERE status = 'granted';
-- The oldest first, also where there are more than one decision takes.
CREATE INDEX reservations_unfolded ON copilot_internal.reservations (tenant_id, outcome_at)
  WHERE outcome IS NOT NULL AND NOT outcome_folded;
CREATE INDEX reservations_by_run ON copilot_internal.reservations (run_id, decided_at) WHERE run_id IS NOT NULL;
CREATE INDEX reservations_unverified ON copilot_internal.reservations (tenant_id, ended_at) WHERE settlement = 'unverified';
-- Those that had ended at no cost before their outcome came: their settlement does not tell of them.
CREATE INDEX reservations_unverified_outcomes ON copilot_internal.reservations (tenant_id, ended_at) WHERE outcome_unverified;
-- Who was refused last, by a quota or because the payer was frozen.
CREATE INDEX reservations_refused ON copilot_internal.reservations (tenant_id, decided_at DESC)
  WHERE status IN ('denied', 'rejected');
CREATE INDEX reservations_sandboxes ON copilot_internal.reservations (kind)
  WHERE status = 'granted' AND outcome IS NULL AND kind LIKE 'sandbox.%';

-- The ledger. Rows are only added: a commit per committed reservation, a correction when its cost is learned later, and an
-- operator's adjustments, with reason and author, as often as needed.
CREATE TABLE copilot_internal.cost_records (
  cost_record_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  operation_id uuid NOT NULL,
  entry text NOT NULL CHECK (entry IN ('commit', 'correction', 'adjustment')),
  user_id text,
  run_id uuid,
  kind text NOT NULL,
  resource text NOT NULL CHECK (resource IN ('llm', 'e2b')),
  model text,
  price_version text,
  amount_usd numeric(38, 12) NOT NULL,
  estimated_usd numeric(38, 12),
  settlement text NOT NULL CHECK (settlement IN ('actual', 'unverified')),
  usage jsonb,
  posted_at timestamptz NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  reason text,
  author text,
  -- By how much the line changes what is charged by estimate and not verified. The trigger of count_unverified sets it.
  unverified_usd numeric(38, 12) NOT NULL DEFAULT 0,
  CONSTRAINT cost_records_amount_check CHECK (entry <> 'commit' OR amount_usd >= 0),
  CONSTRAINT cost_records_author_check CHECK ((entry = 'adjustment') = (reason IS NOT NULL AND author IS NOT NULL))
);
CREATE INDEX cost_records_by_tenant ON copilot_internal.cost_records (tenant_id, posted_at);
CREATE INDEX cost_records_by_run ON copilot_internal.cost_records (run_id) WHERE run_id IS NOT NULL;
CREATE UNIQUE INDEX cost_records_once ON copilot_internal.cost_records (tenant_id, operation_id, entry)
  WHERE entry <> 'adjustment';
-- Few, and looked for by operation; the other entries have cost_records_once.
CREATE INDEX cost_records_adjustments ON copilot_internal.cost_records (tenant_id, operation_id) WHERE entry = 'adjustment';

-- What was spent, summed by day while it is recorded: what a tenant spent in a month is then read from some hundred rows, however
-- many the ledger has. The trigger of sum_costs_by_day keeps it, in the transaction of whoever writes the ledger.
CREATE TABLE copilot_internal.daily_costs (
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  -- In UTC, of the moment that a cost is posted to.
  day date NOT NULL,
  resource text NOT NULL,
  kind text NOT NULL,
  -- Empty when there is none, as is the user.
  model text NOT NULL,
  user_id text NOT NULL,
  cost_usd numeric(38, 12) NOT NULL,
  -- Of it, what was charged by estimate.
  unverified_usd numeric(38, 12) NOT NULL,
  -- Paid operations; corrections and adjustments are none.
  operations bigint NOT NULL,
  PRIMARY KEY (tenant_id, day, resource, kind, model, user_id)
);

RESET ROLE;
