-- Up Migration
-- What was spent, summed by day while it is recorded: what a tenant spent in a month is then read from some hundred rows, however
-- many the ledger has. A trigger keeps it, so that whoever writes the ledger writes it too, in the same transaction; writers of
-- one tenant follow each other by its lock. While the ledger is summed for the first time, decisions wait, and are repeated.
SET LOCAL ROLE spendlock_owner;

CREATE TABLE copilot_internal.daily_costs (
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  -- In UTC, of the moment that a cost is posted to.
  day date NOT NULL,
  resource text NOT NULL,
  kind text NOT NULL,
  -- Empty when there is none, as is the user.
  model text NOT NULL,
  user_id text NOT NULL,
  cost_usd numeric(38,12) NOT NULL,
  -- Of it, what was charged by estimate.
  unverified_usd numeric(38,12) NOT NULL,
  -- Paid operations; corrections and adjustments are none.
  operations bigint NOT NULL,
  PRIMARY KEY (tenant_id, day, resource, kind, model, user_id)
);

CREATE FUNCTION copilot_internal.sum_costs_by_day() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  INSERT INTO daily_costs AS d (tenant_id, day, resource, kind, model, user_id, cost_usd, unverified_usd, operations)
  SELECT tenant_id, (posted_at AT TIME ZONE 'UTC')::date, resource, kind, coalesce(model, ''), coalesce(user_id, ''),
         sum(amount_usd), coalesce(sum(amount_usd) FILTER (WHERE settlement = 'unverified'), 0),
         count(*) FILTER (WHERE entry = 'commit')
  FROM recorded GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6
  ON CONFLICT (tenant_id, day, resource, kind, model, user_id) DO UPDATE
  SET cost_usd = d.cost_usd + excluded.cost_usd, unverified_usd = d.unverified_usd + excluded.unverified_usd,
      operations = d.operations + excluded.operations;
  RETURN NULL;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.sum_costs_by_day() FROM PUBLIC;

LOCK TABLE copilot_internal.cost_records IN SHARE ROW EXCLUSIVE MODE;
INSERT INTO copilot_internal.daily_costs (tenant_id, day, resource, kind, model, user_id, cost_usd, unverified_usd, operations)
SELECT tenant_id, (posted_at AT TIME ZONE 'UTC')::date, resource, kind, coalesce(model, ''), coalesce(user_id, ''),
       sum(amount_usd), coalesce(sum(amount_usd) FILTER (WHERE settlement = 'unverified'), 0),
       count(*) FILTER (WHERE entry = 'commit')
FROM copilot_internal.cost_records GROUP BY 1, 2, 3, 4, 5, 6;

CREATE TRIGGER costs_by_day AFTER INSERT ON copilot_internal.cost_records
  REFERENCING NEW TABLE AS recorded FOR EACH STATEMENT EXECUTE FUNCTION copilot_internal.sum_costs_by_day();

ALTER TABLE copilot_internal.daily_costs ENABLE ROW LEVEL SECURITY;
ALTER TABLE copilot_internal.daily_costs FORCE ROW LEVEL SECURITY;
CREATE POLICY owner_sees_all ON copilot_internal.daily_costs TO spendlock_owner USING (true);
CREATE POLICY one_tenant ON copilot_internal.daily_costs TO spendlock_app
  USING (tenant_id = current_setting('spendlock.tenant_id', true));
GRANT SELECT ON copilot_internal.daily_costs TO spendlock_app;

-- Who was refused last.
CREATE INDEX reservations_denied ON copilot_internal.reservations (tenant_id, decided_at DESC) WHERE status = 'denied';

RESET ROLE;
