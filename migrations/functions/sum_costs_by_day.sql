-- Adds what the ledger gets to the sums by day, in the same transaction and whoever writes it. Writers of one tenant follow
-- each other by its lock.
CREATE OR REPLACE FUNCTION copilot_internal.sum_costs_by_day() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  INSERT INTO daily_costs AS d (tenant_id, day, resource, kind, model, user_id, cost_usd, unverified_usd, operations)
  SELECT tenant_id, (posted_at AT TIME ZONE 'UTC')::date, resource, kind, coalesce(model, ''), coalesce(user_id, ''),
         sum(amount_usd), sum(unverified_usd), count(*) FILTER (WHERE entry = 'commit')
  FROM recorded GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6
  ON CONFLICT (tenant_id, day, resource, kind, model, user_id) DO UPDATE
  SET cost_usd = d.cost_usd + excluded.cost_usd, unverified_usd = d.unverified_usd + excluded.unverified_usd,
      operations = d.operations + excluded.operations;
  RETURN NULL;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.sum_costs_by_day() FROM PUBLIC;

CREATE OR REPLACE TRIGGER costs_by_day AFTER INSERT ON copilot_internal.cost_records
  REFERENCING NEW TABLE AS recorded FOR EACH STATEMENT EXECUTE FUNCTION copilot_internal.sum_costs_by_day();
