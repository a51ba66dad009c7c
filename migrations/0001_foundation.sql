-- Up Migration
-- The schema, its two roles, tenants and their quotas (requirements Q3, Q4, Q5, Q8, Q9).
--
-- spendlock_owner owns every object and cannot log in. spendlock_app is what workers and the API connect as: it owns
-- nothing, has no BYPASSRLS, and sees one tenant at a time, the one named by the transaction's setting
-- `spendlock.tenant_id`.

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
SET LOCAL ROLE spendlock_owner;

CREATE TABLE copilot_internal.tenants (
  tenant_id text PRIMARY KEY CHECK (tenant_id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
  name text NOT NULL DEFAULT '' CHECK (length(name) <= 200),
  created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- One row per scope, resource and period. `reserved_usd` is the sum of the open reservations that the quota covers,
-- `current_spend_usd` the sum of the ledger entries posted inside the period.
CREATE TABLE copilot_internal.cost_quotas (
  quota_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  tenant_id text REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  scope text NOT NULL CHECK (scope IN ('platform', 'tenant', 'user')),
  scope_id text NOT NULL CHECK (length(scope_id) BETWEEN 1 AND 128),
  resource_type text NOT NULL CHECK (resource_type IN ('llm', 'e2b', 'all')),
  period text NOT NULL CHECK (period IN ('day', 'week', 'month')),
  limit_usd numeric(38, 12) NOT NULL CHECK (limit_usd >= 0 AND limit_usd < 1000000000000),
  current_spend_usd numeric(38, 12) NOT NULL DEFAULT 0,
  reserved_usd numeric(38, 12) NOT NULL DEFAULT 0 CHECK (reserved_usd >= 0),
  period_start timestamptz NOT NULL,
  period_end timestamptz NOT NULL,
  warning_threshold numeric(5, 4) NOT NULL DEFAULT 0.80 CHECK (warning_threshold > 0 AND warning_threshold <= 1),
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  CHECK (period_end > period_start),
  CHECK ((scope = 'platform') = (tenant_id IS NULL)),
  CHECK (scope <> 'tenant' OR scope_id = tenant_id),
  UNIQUE NULLS NOT DISTINCT (tenant_id, scope, scope_id, resource_type, period)
);

-- First moment of the period around `at`, and of the next one, in UTC; weeks start on Monday.
CREATE FUNCTION copilot_internal.period_bounds(period text, at timestamptz,
    OUT period_start timestamptz, OUT period_end timestamptz)
  LANGUAGE sql STABLE PARALLEL SAFE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT date_trunc(period, at, 'UTC'),
         (date_trunc(period, at AT TIME ZONE 'UTC') + ('1 ' || period)::interval) AT TIME ZONE 'UTC'
$$;

-- Gives one tenant the quotas of requirement Q4 that it does not have yet.
CREATE FUNCTION copilot_internal.add_default_quotas(p_tenant_id text) RETURNS integer
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
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
$$;

CREATE FUNCTION copilot_internal.initialize_tenant_quotas() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  PERFORM add_default_quotas(NEW.tenant_id);
  RETURN NULL;
END
$$;

CREATE TRIGGER initialize_tenant_quotas AFTER INSERT ON copilot_internal.tenants
  FOR EACH ROW EXECUTE FUNCTION copilot_internal.initialize_tenant_quotas();

-- Requirement Q5: the same for tenants that were there before the trigger. Answers how many quotas it added.
CREATE FUNCTION copilot_internal.initialize_existing_tenant_quotas() RETURNS integer
  LANGUAGE sql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT coalesce(sum(add_default_quotas(tenant_id)), 0)::integer FROM tenants
$$;

-- Requirement Q8: a quota whose period has ended starts the current one at zero. Open reservations carry over.
CREATE FUNCTION copilot_internal.reset_ended_periods(p_tenant_id text, p_now timestamptz) RETURNS void
  LANGUAGE sql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  UPDATE cost_quotas q
  SET current_spend_usd = 0, period_start = b.period_start, period_end = b.period_end, updated_at = p_now
  FROM cost_quotas old, period_bounds(old.period, p_now) AS b
  WHERE old.quota_id = q.quota_id AND (q.tenant_id = p_tenant_id OR q.tenant_id IS NULL) AND q.period_end <= p_now
$$;

-- Takes the locks of a decision in their fixed order: platform, tenant, the tenant's quotas.
CREATE FUNCTION copilot_internal.lock_quotas(p_tenant_id text) RETURNS boolean
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_known boolean;
BEGIN
  PERFORM 1 FROM cost_quotas WHERE tenant_id IS NULL ORDER BY quota_id FOR UPDATE;
  PERFORM 1 FROM tenants WHERE tenant_id = p_tenant_id FOR UPDATE;
  v_known := FOUND;
  PERFORM 1 FROM cost_quotas WHERE tenant_id = p_tenant_id ORDER BY quota_id FOR UPDATE;
  RETURN v_known;
END
$$;

-- The guard below `core`, for a transaction that holds the tenant's locks: it finds the quotas of each change by itself,
-- replays the batch in order, and refuses when a grant lifts spent + reserved above a limit, whoever asked for it. A spend
-- counts in the period that holds its moment. Answers how many quotas changed.
CREATE FUNCTION copilot_internal.apply_quota_changes(p_tenant_id text, p_changes jsonb) RETURNS integer
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_crossed jsonb;
  v_updated integer;
BEGIN
  WITH effects AS MATERIALIZED (
    SELECT q.quota_id, q.scope, q.scope_id, q.resource_type, q.limit_usd, c.sequence, c."grant" AND c.enforced AS binds,
           c."reservedDeltaUsd" AS reserved_delta_usd,
           CASE WHEN c."postedAt" >= q.period_start AND c."postedAt" < q.period_end THEN c."spentDeltaUsd" ELSE 0 END AS spent_delta_usd,
           q.current_spend_usd + q.reserved_usd AS held_usd
    FROM jsonb_to_recordset(p_changes) AS c (
           sequence integer, "userId" text, resource text, "reservedDeltaUsd" numeric, "spentDeltaUsd" numeric,
           "postedAt" timestamptz, "grant" boolean, enforced boolean)
    JOIN cost_quotas q
      ON (q.resource_type = c.resource OR q.resource_type = 'all')
     AND (q.tenant_id IS NULL
          OR (q.tenant_id = p_tenant_id AND (q.scope = 'tenant' OR (q.scope = 'user' AND q.scope_id = c."userId"))))
  ), crossed AS (
    SELECT * FROM (
      SELECT e.*, e.held_usd + sum(e.reserved_delta_usd + e.spent_delta_usd)
               OVER (PARTITION BY e.quota_id ORDER BY e.sequence) AS lifted_to_usd
      FROM effects e) AS lifted
    WHERE binds AND lifted_to_usd > limit_usd
    ORDER BY sequence LIMIT 1
  ), updated AS (
    UPDATE cost_quotas q
    SET reserved_usd = q.reserved_usd + t.reserved_delta_usd,
        current_spend_usd = q.current_spend_usd + t.spent_delta_usd,
        updated_at = clock_timestamp()
    FROM (
      SELECT quota_id, sum(reserved_delta_usd) AS reserved_delta_usd, sum(spent_delta_usd) AS spent_delta_usd
      FROM effects GROUP BY quota_id
    ) AS t
    WHERE q.quota_id = t.quota_id AND (t.reserved_delta_usd <> 0 OR t.spent_delta_usd <> 0)
      AND NOT EXISTS (SELECT FROM crossed)
    RETURNING 1
  )
  SELECT (SELECT to_jsonb(crossed) FROM crossed), (SELECT count(*) FROM updated) INTO v_crossed, v_updated;
  IF v_crossed IS NOT NULL THEN
    RAISE EXCEPTION 'quota_guard: change % would lift the % quota of % % to % USD, above its limit of % USD; nothing was recorded',
      v_crossed ->> 'sequence', v_crossed ->> 'resource_type', v_crossed ->> 'scope', v_crossed ->> 'scope_id',
      v_crossed ->> 'lifted_to_usd', v_crossed ->> 'limit_usd'
      USING ERRCODE = 'SL001';
  END IF;
  RETURN v_updated;
END
$$;

-- Requirement Q9: checks and records a batch of changes to one tenant's balances, all or none.
--   p_changes: [{sequence, userId?, resource, reservedDeltaUsd, spentDeltaUsd, postedAt, grant, enforced}]
-- Raises SL001 (quota_guard) and changes nothing when refused.
CREATE FUNCTION copilot_internal.check_and_record_quota_atomic(p_tenant_id text, p_changes jsonb) RETURNS integer
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  PERFORM lock_quotas(p_tenant_id);
  PERFORM reset_ended_periods(p_tenant_id, clock_timestamp());
  RETURN apply_quota_changes(p_tenant_id, p_changes);
END
$$;
RESET ROLE;
