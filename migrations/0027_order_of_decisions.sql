-- The order of decisions on record, for what-if (docs/decisions/0062): what a batch decides and ends has its number and its position in it,
-- and with it stands what it went by that its row does not tell. How limits were set stands in a table of its own, which no decision writes
-- but the first of a user or a value that gets a default. What is on record before has no number. The locks of these tables are held for as
-- long as it takes to note the columns and to read each quota once.
SET LOCAL ROLE spendlock_owner;

-- Of a batch; the numbers up to the next are its positions. It holds 500 commands and as much of what is due by each way at most.
CREATE SEQUENCE IF NOT EXISTS copilot_internal.decision_numbers INCREMENT BY 65536;
GRANT USAGE ON SEQUENCE copilot_internal.decision_numbers TO spendlock_app;

ALTER TABLE copilot_internal.reservations
  ADD COLUMN IF NOT EXISTS decided_no bigint,
  ADD COLUMN IF NOT EXISTS ended_no bigint,
  -- Null where a decision went by nothing else than the limits and its request.
  ADD COLUMN IF NOT EXISTS decided_with jsonb;
ALTER TABLE copilot_internal.cost_records ADD COLUMN IF NOT EXISTS decision_no bigint;

-- How a limit stood once it was set, topped up, made by default or removed.
CREATE TABLE IF NOT EXISTS copilot_internal.limit_changes (
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  decision_no bigint NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  quota_id uuid NOT NULL,
  is_removed boolean NOT NULL,
  scope text NOT NULL,
  scope_id text NOT NULL,
  resource_type text NOT NULL,
  period text NOT NULL,
  limit_usd numeric(38, 12) NOT NULL,
  topup_usd numeric(38, 12) NOT NULL,
  topup_kept_usd numeric(38, 12) NOT NULL,
  expiring_topups jsonb,
  spent_usd numeric(38, 12) NOT NULL,
  reserved_usd numeric(38, 12) NOT NULL,
  period_start timestamptz NOT NULL,
  period_end timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, decision_no)
);

DO $security$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_policies WHERE schemaname = 'copilot_internal' AND tablename = 'limit_changes') THEN
    ALTER TABLE copilot_internal.limit_changes ENABLE ROW LEVEL SECURITY;
    ALTER TABLE copilot_internal.limit_changes FORCE ROW LEVEL SECURITY;
    CREATE POLICY owner_sees_all ON copilot_internal.limit_changes TO spendlock_owner USING (true);
    CREATE POLICY one_tenant ON copilot_internal.limit_changes TO spendlock_app
      USING (tenant_id = current_setting('spendlock.tenant_id', true));
  END IF;
END
$security$;
GRANT SELECT ON copilot_internal.limit_changes TO spendlock_app;

-- Those that there are.
INSERT INTO copilot_internal.limit_changes (tenant_id, decision_no, quota_id, is_removed, scope, scope_id, resource_type, period, limit_usd,
  topup_usd, topup_kept_usd, expiring_topups, spent_usd, reserved_usd, period_start, period_end)
SELECT tenant_id, nextval('copilot_internal.decision_numbers'), quota_id, false, scope, scope_id, resource_type, period, limit_usd,
  topup_usd, topup_kept_usd, expiring_topups, current_spend_usd, reserved_usd, period_start, period_end
FROM copilot_internal.cost_quotas WHERE scope IN ('tenant', 'user', 'label');

RESET ROLE;
