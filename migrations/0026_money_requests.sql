-- What denied runs ask people for: money (docs/decisions/0061). Workers of the version before neither ask nor know of it; a wait that they end
-- withdraws what it asked all the same (withdraw_money_requests), and they are given no alert that they have no words for (take_due_alerts).
SET LOCAL ROLE spendlock_owner;

CREATE TABLE IF NOT EXISTS copilot_internal.money_requests (
  request_id uuid PRIMARY KEY,
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  -- The wait that it belongs to.
  waiter_id uuid NOT NULL,
  workflow_id text NOT NULL,
  run_id uuid,
  user_id text,
  -- What it is for: the kind of the step, and what it is billed as.
  kind text NOT NULL,
  resource text NOT NULL,
  labels jsonb,
  -- The quota that refused, as it was then.
  quota jsonb NOT NULL,
  -- What its limits lack for the least that the step can use.
  lacks_usd numeric(38, 12) NOT NULL CHECK (lacks_usd >= 0),
  asked_usd numeric(38, 12) NOT NULL CHECK (asked_usd > 0),
  -- What was done before: how many paid steps, and what they cost; null where no run is told of.
  steps integer,
  cost_usd numeric(38, 12),
  -- What the workflow's request before this one came to.
  last_answer jsonb,
  status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'granted', 'refused', 'withdrawn', 'expired')),
  -- What was granted, and until when; null where it is until the period ends.
  granted_usd numeric(38, 12) CHECK (granted_usd > 0),
  expires_at timestamptz,
  -- By how much which limits were lifted for it.
  lifted jsonb,
  reason text,
  decided_by text,
  decided_by_key uuid,
  decided_by_role text,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- Until when an answer is waited for.
  waits_until timestamptz NOT NULL,
  decided_at timestamptz,
  -- The denied operation after which the workflow heard of the answer, and when it was signalled once more.
  told_to uuid,
  signalled_at timestamptz,
  CHECK ((status = 'pending') = (decided_at IS NULL)),
  CHECK ((status = 'granted') = (granted_usd IS NOT NULL))
);
CREATE UNIQUE INDEX IF NOT EXISTS money_requests_pending ON copilot_internal.money_requests (waiter_id) WHERE status = 'pending';
CREATE INDEX IF NOT EXISTS money_requests_of_waiter ON copilot_internal.money_requests (waiter_id, created_at);
CREATE INDEX IF NOT EXISTS money_requests_of_workflow ON copilot_internal.money_requests (tenant_id, workflow_id, created_at);
CREATE INDEX IF NOT EXISTS money_requests_open ON copilot_internal.money_requests (tenant_id, created_at) WHERE status = 'pending';
CREATE INDEX IF NOT EXISTS money_requests_of_run ON copilot_internal.money_requests (run_id);

DO $security$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_policies WHERE schemaname = 'copilot_internal' AND tablename = 'money_requests') THEN
    ALTER TABLE copilot_internal.money_requests ENABLE ROW LEVEL SECURITY;
    ALTER TABLE copilot_internal.money_requests FORCE ROW LEVEL SECURITY;
    CREATE POLICY owner_sees_all ON copilot_internal.money_requests TO spendlock_owner USING (true);
    CREATE POLICY one_tenant ON copilot_internal.money_requests TO spendlock_app
      USING (tenant_id = current_setting('spendlock.tenant_id', true));
  END IF;
END
$security$;
GRANT SELECT, INSERT, UPDATE ON copilot_internal.money_requests TO spendlock_app;

-- The alert of a request stands beside those of periods: its period begins when it was made.
ALTER TABLE copilot_internal.quota_alerts DROP CONSTRAINT IF EXISTS quota_alerts_kind_check;
ALTER TABLE copilot_internal.quota_alerts
  ADD CONSTRAINT quota_alerts_kind_check CHECK (kind IN ('quota_warning', 'quota_exceeded', 'overrun', 'money_request'));

RESET ROLE;
