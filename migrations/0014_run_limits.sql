-- Limits of runs and of what belongs to them, decided with the quotas (docs/decisions/0050). A table of their own: a worker of the version
-- before would take a row of cost_quotas as covering the whole tenant. What is changed here is changed under the tenant's lock. The lock
-- of the reservations is held for as long as it takes to note the column.
SET LOCAL ROLE spendlock_owner;

CREATE TABLE IF NOT EXISTS copilot_internal.run_limits (
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  -- A run, a turn of a conversation, or the first execution of a workflow of one's own.
  run_id uuid NOT NULL,
  -- What it belongs to, the nearest first. It never changes.
  ancestor_ids uuid[] NOT NULL DEFAULT '{}' CHECK (cardinality(ancestor_ids) <= 7),
  -- Null where only those that it belongs to have one.
  limit_usd numeric(38, 12) CHECK (limit_usd >= 0),
  -- The ledger's lines and the open reservations of itself and of what belongs to it.
  spent_usd numeric(38, 12) NOT NULL DEFAULT 0,
  reserved_usd numeric(38, 12) NOT NULL DEFAULT 0,
  -- As exact as the moments of decisions, which are not before it.
  created_at timestamptz NOT NULL DEFAULT date_trunc('milliseconds', clock_timestamp()),
  -- The day of its last change, since a moment in an index would be written with each of them.
  used_on date NOT NULL DEFAULT current_date,
  PRIMARY KEY (tenant_id, run_id)
);
CREATE INDEX IF NOT EXISTS run_limits_used ON copilot_internal.run_limits (used_on);
-- What belongs to a run is shown with it.
CREATE INDEX IF NOT EXISTS run_limits_ancestors ON copilot_internal.run_limits USING gin (ancestor_ids);

-- Of a granted reservation: the run limits that it counts for, its own run's first. Null where it has none.
ALTER TABLE copilot_internal.reservations ADD COLUMN IF NOT EXISTS limit_ids uuid[];

DO $security$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_policies WHERE schemaname = 'copilot_internal' AND tablename = 'run_limits') THEN
    ALTER TABLE copilot_internal.run_limits ENABLE ROW LEVEL SECURITY;
    ALTER TABLE copilot_internal.run_limits FORCE ROW LEVEL SECURITY;
    CREATE POLICY owner_sees_all ON copilot_internal.run_limits TO spendlock_owner USING (true);
    CREATE POLICY one_tenant ON copilot_internal.run_limits TO spendlock_app
      USING (tenant_id = current_setting('spendlock.tenant_id', true));
  END IF;
END
$security$;
GRANT SELECT, INSERT, UPDATE ON copilot_internal.run_limits TO spendlock_app;

RESET ROLE;
