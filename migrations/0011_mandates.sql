-- Mandates: until when processes that ask may take a tenant's decisions themselves, what they decided, and what they left for the
-- authority to do (docs/decisions/0046). A row of its own, changed only under the lock of its tenant's row, which every decision takes
-- first, those of the version before too. So a tenant's row is not written with each decision.
SET LOCAL ROLE spendlock_owner;

CREATE TABLE IF NOT EXISTS copilot_internal.mandates (
  tenant_id text PRIMARY KEY REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  -- Null while only the authority decides.
  open_until timestamptz,
  -- Version of the rules and what is enforced, of whoever opened it.
  rules text NOT NULL DEFAULT '',
  -- Recalled: it is not opened again until that is allowed.
  barred_at timestamptz,
  barred_reason text,
  -- The account of what was decided under mandates, from the tenant's beginning on.
  granted bigint NOT NULL DEFAULT 0,
  denied bigint NOT NULL DEFAULT 0,
  granted_usd numeric(38, 18) NOT NULL DEFAULT 0,
  -- When the authority looks by itself, each minute at the latest while the mandate is open.
  wake_up_at timestamptz,
  -- Since when there are decisions that the authority has not seen, and something that it has to do before it looks.
  left_at timestamptz,
  needed_at timestamptz,
  CHECK ((barred_at IS NULL) = (barred_reason IS NULL))
);

DO $security$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_policies WHERE schemaname = 'copilot_internal' AND tablename = 'mandates') THEN
    ALTER TABLE copilot_internal.mandates ENABLE ROW LEVEL SECURITY;
    ALTER TABLE copilot_internal.mandates FORCE ROW LEVEL SECURITY;
    CREATE POLICY owner_sees_all ON copilot_internal.mandates TO spendlock_owner USING (true);
    CREATE POLICY one_tenant ON copilot_internal.mandates TO spendlock_app
      USING (tenant_id = current_setting('spendlock.tenant_id', true));
  END IF;
END
$security$;
GRANT SELECT, INSERT, UPDATE ON copilot_internal.mandates TO spendlock_app;

RESET ROLE;
