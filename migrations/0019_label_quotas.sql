-- Limits of what has a label (docs/decisions/0053): rows of cost_quotas of a scope of their own, `label`, whose scope_id is such as
-- `team:search`. A process of the version before would take any row for one of the tenant's, so row security shows them only to who says
-- that it knows them (spendlock.label_quotas). The locks of these tables are held for as long as it takes to note the columns and to look
-- at each quota once.
SET LOCAL ROLE spendlock_owner;

ALTER TABLE copilot_internal.cost_quotas DROP CONSTRAINT IF EXISTS cost_quotas_scope_check;
ALTER TABLE copilot_internal.cost_quotas
  ADD CONSTRAINT cost_quotas_scope_check CHECK (scope IN ('platform', 'tenant', 'user', 'label'));

-- What each value of a label gets that has no limit of its own. All that are told apart have a row of it, and `other` has one for the rest.
CREATE TABLE IF NOT EXISTS copilot_internal.label_quota_defaults (
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  key text NOT NULL,
  resource_type text NOT NULL CHECK (resource_type IN ('llm', 'e2b', 'all')),
  period text NOT NULL CHECK (period IN ('day', 'week', 'month', 'lifetime')),
  limit_usd numeric(38, 12) NOT NULL CHECK (limit_usd >= 0 AND limit_usd < 1000000000000),
  warning_threshold numeric(5, 4) NOT NULL DEFAULT 0.80 CHECK (warning_threshold > 0 AND warning_threshold <= 1),
  PRIMARY KEY (tenant_id, key, resource_type, period)
);

-- What is waited for: limits of its labels are among those that have to have room.
ALTER TABLE copilot_internal.money_waiters ADD COLUMN IF NOT EXISTS labels jsonb;

DO $security$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_policies WHERE schemaname = 'copilot_internal' AND tablename = 'label_quota_defaults') THEN
    ALTER TABLE copilot_internal.label_quota_defaults ENABLE ROW LEVEL SECURITY;
    ALTER TABLE copilot_internal.label_quota_defaults FORCE ROW LEVEL SECURITY;
    CREATE POLICY owner_sees_all ON copilot_internal.label_quota_defaults TO spendlock_owner USING (true);
    CREATE POLICY one_tenant ON copilot_internal.label_quota_defaults TO spendlock_app
      USING (tenant_id = current_setting('spendlock.tenant_id', true));
  END IF;
  IF NOT EXISTS (
    SELECT FROM pg_policies WHERE schemaname = 'copilot_internal' AND tablename = 'cost_quotas' AND policyname = 'who_knows_labels') THEN
    CREATE POLICY who_knows_labels ON copilot_internal.cost_quotas AS RESTRICTIVE TO spendlock_app
      USING (scope <> 'label' OR current_setting('spendlock.label_quotas', true) = 'on');
  END IF;
END
$security$;
GRANT SELECT, INSERT, UPDATE, DELETE ON copilot_internal.label_quota_defaults TO spendlock_app;

RESET ROLE;
