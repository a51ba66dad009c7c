-- What each value of a label has spent in the periods around now, by the lines of the ledger up to a mark (ledger_mark): from the sums by
-- day, and of days that have more sets of labels than are told apart from the ledger. Without the tenant's lock, since it may take a second;
-- seed_label_quotas adds what came after.
CREATE OR REPLACE FUNCTION copilot_internal.label_spend(p_tenant_id text, p_key text, p_periods text[], p_mark bigint)
  RETURNS TABLE (period text, period_start timestamptz, value text, resource text, spent_usd numeric)
  LANGUAGE sql STABLE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  WITH bounds AS MATERIALIZED (
    SELECT p.name, b.period_start, b.period_end FROM unnest(p_periods) AS p (name) CROSS JOIN LATERAL period_bounds(p.name, clock_timestamp()) AS b
  ), crowded AS MATERIALIZED (
    SELECT c.day FROM daily_label_sets c WHERE c.tenant_id = p_tenant_id AND c.sets >= label_sets_max()
      AND c.day >= (SELECT min(b.period_start AT TIME ZONE 'UTC')::date FROM bounds b)
  ), spent AS MATERIALIZED (
    SELECT d.day, d.labels ->> p_key AS value, d.resource, sum(d.cost_usd) AS usd
    FROM daily_label_costs d
    WHERE d.tenant_id = p_tenant_id AND d.day >= (SELECT min(b.period_start AT TIME ZONE 'UTC')::date FROM bounds b)
      AND d.labels ? p_key AND d.day NOT IN (SELECT c.day FROM crowded c)
    GROUP BY 1, 2, 3
    UNION ALL
    SELECT w.day, l.labels ->> p_key, l.resource, sum(l.amount_usd)
    FROM crowded w JOIN cost_records l ON l.tenant_id = p_tenant_id AND l.posted_at >= w.day::timestamp AT TIME ZONE 'UTC'
      AND l.posted_at < (w.day + 1)::timestamp AT TIME ZONE 'UTC'
    WHERE l.labels ? p_key AND l.cost_record_id <= p_mark
    GROUP BY 1, 2, 3
    UNION ALL
    -- The sums have what came after the mark too.
    SELECT (l.posted_at AT TIME ZONE 'UTC')::date, l.labels ->> p_key, l.resource, -sum(l.amount_usd)
    FROM cost_records l
    WHERE l.cost_record_id > p_mark AND l.tenant_id = p_tenant_id AND l.labels ? p_key
      AND (l.posted_at AT TIME ZONE 'UTC')::date NOT IN (SELECT c.day FROM crowded c)
    GROUP BY 1, 2, 3
  )
  SELECT b.name, b.period_start, s.value, s.resource, sum(s.usd)
  FROM bounds b JOIN spent s ON s.day >= (b.period_start AT TIME ZONE 'UTC')::date AND s.day < (b.period_end AT TIME ZONE 'UTC')::date
  GROUP BY 1, 2, 3, 4
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.label_spend(text, text, text[], bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.label_spend(text, text, text[], bigint) TO spendlock_app;
