-- Limits that are watched and refuse nothing (docs/decisions/0062): rows of cost_quotas of scopes of their own, `shadow_tenant`, `shadow_user`
-- and `shadow_label`, so that one may stand beside a limit that binds, and whatever names the scopes that bind passes them by. A process of
-- the version before would take any row for a limit, so row security shows them only to who says that it knows them (spendlock.shadow_quotas).
-- The rows that are there have scopes that were allowed before, so that the table is not read to look at them once more.
SET LOCAL ROLE spendlock_owner;

ALTER TABLE copilot_internal.cost_quotas DROP CONSTRAINT IF EXISTS cost_quotas_scope_check;
ALTER TABLE copilot_internal.cost_quotas
  ADD CONSTRAINT cost_quotas_scope_check CHECK (
    scope IN ('platform', 'tenant', 'user', 'label', 'shadow_tenant', 'shadow_user', 'shadow_label')) NOT VALID;

DO $security$
BEGIN
  IF NOT EXISTS (
    SELECT FROM pg_policies WHERE schemaname = 'copilot_internal' AND tablename = 'cost_quotas' AND policyname = 'who_knows_shadows') THEN
    CREATE POLICY who_knows_shadows ON copilot_internal.cost_quotas AS RESTRICTIVE TO spendlock_app
      USING (scope NOT IN ('shadow_tenant', 'shadow_user', 'shadow_label') OR current_setting('spendlock.shadow_quotas', true) = 'on');
  END IF;
END
$security$;

RESET ROLE;
