-- Adds what the ledger gets to the sums by day, in the same transaction and whoever writes it. Writers of one tenant follow
-- each other by its lock. What has labels is summed by each set of them too, of which a day of a tenant has so many: what comes beyond
-- is under `other` for each of its keys.
CREATE OR REPLACE FUNCTION copilot_internal.sum_costs_by_day() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  INSERT INTO daily_costs AS d (tenant_id, day, resource, kind, model, user_id, cost_usd, unverified_usd, operations, cache_saved_usd)
  SELECT tenant_id, (posted_at AT TIME ZONE 'UTC')::date, resource, kind, coalesce(model, ''), coalesce(user_id, ''),
         sum(amount_usd), sum(unverified_usd), count(*) FILTER (WHERE entry = 'commit'), sum(cache_saved(usage))
  FROM recorded GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6
  ON CONFLICT (tenant_id, day, resource, kind, model, user_id) DO UPDATE
  SET cost_usd = d.cost_usd + excluded.cost_usd, unverified_usd = d.unverified_usd + excluded.unverified_usd,
      operations = d.operations + excluded.operations, cache_saved_usd = d.cache_saved_usd + excluded.cache_saved_usd;
  IF NOT EXISTS (SELECT FROM recorded WHERE jsonb_typeof(labels) = 'object') THEN
    RETURN NULL;
  END IF;

  WITH lines AS MATERIALIZED (
    SELECT tenant_id, (posted_at AT TIME ZONE 'UTC')::date AS day, labels, labels_id(labels) AS labels_id, resource, kind,
           coalesce(model, '') AS model, sum(amount_usd) AS cost_usd, sum(unverified_usd) AS unverified_usd,
           count(*) FILTER (WHERE entry = 'commit') AS operations, sum(cache_saved(usage)) AS cache_saved_usd
    FROM recorded WHERE jsonb_typeof(labels) = 'object' GROUP BY 1, 2, 3, 5, 6, 7
  ), fresh AS MATERIALIZED (
    SELECT s.tenant_id, s.day, s.labels_id,
           coalesce((SELECT c.sets FROM daily_label_sets c WHERE c.tenant_id = s.tenant_id AND c.day = s.day), 0)
             + row_number() OVER (PARTITION BY s.tenant_id, s.day ORDER BY s.labels_id) AS place
    FROM (SELECT DISTINCT tenant_id, day, labels_id FROM lines) AS s
    -- One by one, so that each is found by its key whatever the planner believes of the table's size.
    WHERE (SELECT true FROM daily_label_costs d
           WHERE d.tenant_id = s.tenant_id AND d.day = s.day AND d.labels_id = s.labels_id LIMIT 1) IS NULL
  ), counted AS (
    INSERT INTO daily_label_sets AS c (tenant_id, day, sets)
    SELECT tenant_id, day, count(*) FROM fresh WHERE place <= label_sets_max() GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (tenant_id, day) DO UPDATE SET sets = c.sets + excluded.sets
  ), bounded AS (
    SELECT tenant_id, day, CASE WHEN (tenant_id, day, labels_id) IN (
             SELECT f.tenant_id, f.day, f.labels_id FROM fresh f WHERE f.place > label_sets_max()) THEN other_labels(labels) ELSE labels END AS labels,
           resource, kind, model, cost_usd, unverified_usd, operations, cache_saved_usd
    FROM lines
  )
  INSERT INTO daily_label_costs AS d (tenant_id, day, labels_id, labels, resource, kind, model, cost_usd, unverified_usd, operations,
    cache_saved_usd)
  SELECT tenant_id, day, labels_id(labels), labels, resource, kind, model, sum(cost_usd), sum(unverified_usd), sum(operations),
         sum(cache_saved_usd)
  FROM bounded GROUP BY 1, 2, 4, 5, 6, 7 ORDER BY 1, 2, 3, 5, 6, 7
  ON CONFLICT (tenant_id, day, labels_id, resource, kind, model) DO UPDATE
  SET cost_usd = d.cost_usd + excluded.cost_usd, unverified_usd = d.unverified_usd + excluded.unverified_usd,
      operations = d.operations + excluded.operations, cache_saved_usd = d.cache_saved_usd + excluded.cache_saved_usd;
  RETURN NULL;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.sum_costs_by_day() FROM PUBLIC;

CREATE OR REPLACE TRIGGER costs_by_day AFTER INSERT ON copilot_internal.cost_records
  REFERENCING NEW TABLE AS recorded FOR EACH STATEMENT EXECUTE FUNCTION copilot_internal.sum_costs_by_day();
