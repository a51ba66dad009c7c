-- The schema, its two roles, and what a budget is made of: tenants, their quotas and those of the platform, what users get by
-- default, who is frozen, who waits for money, and what the installation as a whole has one of (requirements Q3, Q4, Q5, Q8, Q9).
--
-- spendlock_owner owns every object and cannot log in. spendlock_app is what workers and the API connect as: it owns nothing, has
-- no BYPASSRLS, and sees one tenant at a time, the one named by the transaction's setting `spendlock.tenant_id` (0006_access).
-- Functions and their triggers are in functions/, each as it is today; they are applied after the numbered files.

DO $roles$
BEGIN
  -- Roles belong to the whole cluster, so another database of it may have made them, even at this moment.
  BEGIN
    CREATE ROLE spendlock_owner NOLOGIN;
  EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
  END;
  BEGIN
    CREATE ROLE spendlock_app LOGIN NOINHERIT;
  EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
  END;
  -- A superuser may act as any role. Anyone else who migrates (a managed Postgres) has to be a member of the owner.
  IF NOT pg_has_role(current_user, 'spendlock_owner', 'MEMBER') THEN
    EXECUTE format('GRANT spendlock_owner TO %I', current_user);
  END IF;
END
$roles$;

ALTER SCHEMA copilot_internal OWNER TO spendlock_owner;
GRANT USAGE ON SCHEMA copilot_internal TO spendlock_app;
-- The runner's own table says to `npx spendlock doctor` what has been applied.
GRANT SELECT ON copilot_internal.schema_migrations TO spendlock_app;
SET LOCAL ROLE spendlock_owner;

CREATE TABLE copilot_internal.tenants (
  tenant_id text PRIMARY KEY CHECK (tenant_id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
  name text NOT NULL DEFAULT '' CHECK (length(name) <= 200),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- A frozen tenant may not reserve for now. What is reserved goes on.
  frozen_at timestamptz,
  frozen_reason text,
  -- What a step does when its authority does not answer in time.
  on_unavailable text NOT NULL DEFAULT 'wait' CHECK (on_unavailable IN ('wait', 'deny', 'allow')),
  answer_timeout_ms integer NOT NULL DEFAULT 5000 CHECK (answer_timeout_ms BETWEEN 100 AND 600000),
  -- A tenant that was deleted, of which nothing is left but what it has spent of the platform's quotas in a period that still runs.
  deleted_at timestamptz,
  CHECK ((frozen_at IS NULL) = (frozen_reason IS NULL))
);

-- Users of a tenant who may not reserve for now.
CREATE TABLE copilot_internal.frozen_users (
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  user_id text NOT NULL CHECK (length(user_id) BETWEEN 1 AND 128),
  frozen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  frozen_reason text NOT NULL,
  PRIMARY KEY (tenant_id, user_id)
);

-- One row per scope, resource and period. `reserved_usd` is the sum of the open reservations that the quota covers,
-- `current_spend_usd` the sum of the ledger entries posted inside the period. `lifetime` quotas never reset.
--
-- The platform's quotas, which have no tenant, span tenants. Each tenant draws a lease from them, a quota row of its own (scope
-- `platform`, with the tenant), and spends from that: so the platform is not on every call's path. The sum of the leases never
-- exceeds the platform's limit. A lease has no expiry by clock; the platform takes back what of it is idle, before it denies. A
-- lease's limit is changed only under the platform's lock, or lowered by its own tenant (docs/decisions/0008).
CREATE TABLE copilot_internal.cost_quotas (
  quota_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  tenant_id text REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  scope text NOT NULL CHECK (scope IN ('platform', 'tenant', 'user')),
  scope_id text NOT NULL CHECK (length(scope_id) BETWEEN 1 AND 128),
  resource_type text NOT NULL CHECK (resource_type IN ('llm', 'e2b', 'all')),
  period text NOT NULL CHECK (period IN ('day', 'week', 'month', 'lifetime')),
  limit_usd numeric(38, 12) NOT NULL CHECK (limit_usd >= 0 AND limit_usd < 1000000000000),
  current_spend_usd numeric(38, 12) NOT NULL DEFAULT 0,
  reserved_usd numeric(38, 12) NOT NULL DEFAULT 0 CHECK (reserved_usd >= 0),
  period_start timestamptz NOT NULL,
  period_end timestamptz NOT NULL,
  warning_threshold numeric(5, 4) NOT NULL DEFAULT 0.80 CHECK (warning_threshold > 0 AND warning_threshold <= 1),
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- Lifts the limit until the period ends.
  topup_usd numeric(38, 12) NOT NULL DEFAULT 0 CHECK (topup_usd >= 0 AND topup_usd < 1000000000000),
  -- One warning is given per threshold and period.
  more_warning_thresholds numeric(5, 4)[] NOT NULL DEFAULT '{}'
    CHECK (0 < ALL (more_warning_thresholds) AND 1 >= ALL (more_warning_thresholds) AND cardinality(more_warning_thresholds) <= 10),
  -- Made from the tenant's default for its users, and changed with it.
  from_default boolean NOT NULL DEFAULT false,
  lease_of uuid REFERENCES copilot_internal.cost_quotas ON DELETE CASCADE,
  -- Until then the platform is known to have no more for this lease, and when the next hold of anybody may make room.
  exhausted_until timestamptz,
  platform_frees_at timestamptz,
  CHECK (period_end > period_start),
  CONSTRAINT cost_quotas_check2 CHECK (scope <> 'tenant' OR scope_id = tenant_id),
  CONSTRAINT cost_quotas_scope_tenant_check CHECK (
    CASE scope WHEN 'platform' THEN (tenant_id IS NULL) = (lease_of IS NULL) ELSE tenant_id IS NOT NULL AND lease_of IS NULL END),
  UNIQUE NULLS NOT DISTINCT (tenant_id, scope, scope_id, resource_type, period)
);
CREATE INDEX cost_quotas_leases ON copilot_internal.cost_quotas (lease_of) WHERE lease_of IS NOT NULL;
COMMENT ON COLUMN copilot_internal.cost_quotas.current_spend_usd IS
  'Sum of the ledger entries of the period. Not kept on the platform''s own rows: their leases have it, and list_platform_quotas() adds it up.';

-- What a user whom nobody has named before gets, by tenant.
CREATE TABLE copilot_internal.user_quota_defaults (
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  resource_type text NOT NULL CHECK (resource_type IN ('llm', 'e2b', 'all')),
  period text NOT NULL CHECK (period IN ('day', 'week', 'month', 'lifetime')),
  limit_usd numeric(38, 12) NOT NULL CHECK (limit_usd >= 0 AND limit_usd < 1000000000000),
  warning_threshold numeric(5, 4) NOT NULL DEFAULT 0.80 CHECK (warning_threshold > 0 AND warning_threshold <= 1),
  PRIMARY KEY (tenant_id, resource_type, period)
);

-- One row per alert that is due: its uniqueness is what makes it one per quota, kind, threshold and period.
CREATE TABLE copilot_internal.quota_alerts (
  alert_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  tenant_id text REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  quota_id uuid NOT NULL REFERENCES copilot_internal.cost_quotas ON DELETE CASCADE,
  kind text NOT NULL CHECK (kind IN ('quota_warning', 'quota_exceeded', 'overrun')),
  period_start timestamptz NOT NULL,
  details jsonb NOT NULL,
  raised_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  sent_at timestamptz,
  threshold numeric(5, 4),
  -- When it may be tried: at once, or when the last try has surely ended.
  next_try_at timestamptz NOT NULL DEFAULT '-infinity',
  tries integer NOT NULL DEFAULT 0,
  CONSTRAINT quota_alerts_once UNIQUE NULLS NOT DISTINCT (quota_id, kind, period_start, threshold)
);
CREATE INDEX quota_alerts_unsent ON copilot_internal.quota_alerts (tenant_id) WHERE sent_at IS NULL;
CREATE INDEX quota_alerts_due ON copilot_internal.quota_alerts (next_try_at, raised_at) WHERE sent_at IS NULL;

-- Steps that were denied and wait: woken in this order when the money is there.
CREATE TABLE copilot_internal.money_waiters (
  waiter_id uuid PRIMARY KEY,
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  workflow_id text NOT NULL,
  run_id uuid,
  user_id text,
  resource text NOT NULL CHECK (resource IN ('llm', 'e2b')),
  -- The least that it can use.
  needed_usd numeric(38, 12) NOT NULL CHECK (needed_usd >= 0),
  -- Whether its tenant's own quotas stood in the way. What the platform has left its authority cannot tell: then it asks by
  -- itself.
  is_woken boolean NOT NULL,
  waiting_since timestamptz NOT NULL DEFAULT clock_timestamp(),
  woken_at timestamptz
);
CREATE INDEX money_waiters_in_order ON copilot_internal.money_waiters (tenant_id, waiting_since);

-- One row per installation. Sandboxes carry its name, so that two installations at one provider leave each other's alone.
CREATE TABLE copilot_internal.installation (
  one_row boolean PRIMARY KEY DEFAULT true CHECK (one_row),
  installation_id uuid NOT NULL DEFAULT gen_random_uuid(),
  -- The last tenant that upkeep looked at.
  looked_at_tenant text NOT NULL DEFAULT ''
);
INSERT INTO copilot_internal.installation DEFAULT VALUES;

RESET ROLE;
