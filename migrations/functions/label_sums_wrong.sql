-- Sums of labels by day that are not those of the ledger, of some days of a tenant: what they are and what they should be. Where a day
-- has more sets of labels than are told apart, those that it does not have are under `other`.
CREATE OR REPLACE FUNCTION copilot_internal.label_sums_wrong(p_tenant_id text, p_days date[])
  RETURNS TABLE (day date, labels jsonb, resource text, kind text, model text, was_usd numeric, cost_usd numeric, unverified_usd numeric,
    operations bigint, cache_saved_usd numeric)
  LANGUAGE sql STABLE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  WITH lines AS MATERIALIZED (
    SELECT d.of AS day, c.labels, c.resource, c.kind, coalesce(c.model, '') AS model, sum(c.amount_usd) AS cost_usd,
           sum(c.unverified_usd) AS unverified_usd, count(*) FILTER (WHERE c.entry = 'commit') AS operations,
           sum(cache_saved(c.usage)) AS cache_saved_usd
    FROM unnest(p_days) AS d (of) JOIN cost_records c ON c.tenant_id = p_tenant_id
      AND c.posted_at >= d.of::timestamp AT TIME ZONE 'UTC' AND c.posted_at < (d.of + 1)::timestamp AT TIME ZONE 'UTC'
    WHERE jsonb_typeof(c.labels) = 'object'
    GROUP BY 1, 2, 3, 4, 5
  ), summed AS MATERIALIZED (
    SELECT * FROM daily_label_costs d WHERE d.tenant_id = p_tenant_id AND d.day = ANY (p_days)
  ), counted AS (
    SELECT r.*, max(r.place) OVER (PARTITION BY r.day) AS sets
    FROM (SELECT l.*, dense_rank() OVER (PARTITION BY l.day ORDER BY l.labels) AS place FROM lines l) AS r
  ), ledger AS (
    SELECT c.day, CASE WHEN c.sets <= label_sets_max() OR (c.day, c.labels) IN (SELECT d.day, d.labels FROM summed d) THEN c.labels
             ELSE other_labels(c.labels) END AS labels, c.resource, c.kind, c.model,
           sum(c.cost_usd) AS cost_usd, sum(c.unverified_usd) AS unverified_usd, sum(c.operations)::bigint AS operations,
           sum(c.cache_saved_usd) AS cache_saved_usd
    FROM counted c GROUP BY 1, 2, 3, 4, 5
  )
  SELECT day, labels, resource, kind, model, s.cost_usd, coalesce(l.cost_usd, 0), coalesce(l.unverified_usd, 0), coalesce(l.operations, 0),
         coalesce(l.cache_saved_usd, 0)
  FROM ledger l FULL JOIN summed s USING (day, labels, resource, kind, model)
  WHERE (coalesce(s.cost_usd, 0), coalesce(s.operations, 0), coalesce(s.unverified_usd, 0), coalesce(s.cache_saved_usd, 0))
     <> (coalesce(l.cost_usd, 0), coalesce(l.operations, 0), coalesce(l.unverified_usd, 0), coalesce(l.cache_saved_usd, 0))
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.label_sums_wrong(text, date[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.label_sums_wrong(text, date[]) TO spendlock_app;
