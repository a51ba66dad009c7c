-- What was spent by labels (docs/decisions/0053): the values that a tenant's labels have, as many a key as are told apart, and sums by day of
-- each set of labels. What is on record already is summed here, once, from the lines that have labels.
SET LOCAL ROLE spendlock_owner;

-- Written under the tenant's lock. None is ever taken out: what is beyond the bound once stays there.
CREATE TABLE IF NOT EXISTS copilot_internal.label_values (
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  key text NOT NULL,
  value text NOT NULL,
  PRIMARY KEY (tenant_id, key, value)
);

-- The trigger of sum_costs_by_day keeps it, as it keeps daily_costs: that one has all that was spent, this one what has labels.
CREATE TABLE IF NOT EXISTS copilot_internal.daily_label_costs (
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  day date NOT NULL,
  -- What labels_id makes of them: an index takes no entry of all of them.
  labels_id uuid NOT NULL,
  labels jsonb NOT NULL,
  resource text NOT NULL,
  kind text NOT NULL,
  -- Empty when there is none.
  model text NOT NULL,
  cost_usd numeric(38, 12) NOT NULL,
  unverified_usd numeric(38, 12) NOT NULL,
  operations bigint NOT NULL,
  PRIMARY KEY (tenant_id, day, labels_id, resource, kind, model)
);
-- How many sets of labels a day has in it, which are bounded too.
CREATE TABLE IF NOT EXISTS copilot_internal.daily_label_sets (
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  day date NOT NULL,
  sets integer NOT NULL,
  PRIMARY KEY (tenant_id, day)
);

DO $security$
DECLARE
  v_table text;
BEGIN
  FOREACH v_table IN ARRAY ARRAY['label_values', 'daily_label_costs', 'daily_label_sets'] LOOP
    CONTINUE WHEN EXISTS (SELECT FROM pg_policies WHERE schemaname = 'copilot_internal' AND tablename = v_table);
    EXECUTE format('ALTER TABLE copilot_internal.%I ENABLE ROW LEVEL SECURITY', v_table);
    EXECUTE format('ALTER TABLE copilot_internal.%I FORCE ROW LEVEL SECURITY', v_table);
    EXECUTE format('CREATE POLICY owner_sees_all ON copilot_internal.%I TO spendlock_owner USING (true)', v_table);
    EXECUTE format('CREATE POLICY one_tenant ON copilot_internal.%I TO spendlock_app
      USING (tenant_id = current_setting(''spendlock.tenant_id'', true))', v_table);
  END LOOP;
END
$security$;
GRANT SELECT, INSERT ON copilot_internal.label_values TO spendlock_app;
GRANT SELECT ON copilot_internal.daily_label_costs, copilot_internal.daily_label_sets TO spendlock_app;

INSERT INTO copilot_internal.label_values (tenant_id, key, value)
SELECT tenant_id, key, value FROM (
  SELECT c.tenant_id, l.key, l.value, row_number() OVER (PARTITION BY c.tenant_id, l.key ORDER BY min(c.cost_record_id)) AS place
  FROM copilot_internal.cost_records c CROSS JOIN LATERAL jsonb_each_text(c.labels) AS l
  WHERE jsonb_typeof(c.labels) = 'object' AND l.value <> 'other' AND octet_length(l.value) <= 64 GROUP BY 1, 2, 3) AS found
WHERE place <= 1000
ON CONFLICT DO NOTHING;

INSERT INTO copilot_internal.daily_label_costs
SELECT tenant_id, day, encode(substr(sha256(convert_to(labels::text, 'UTF8')), 1, 16), 'hex')::uuid, labels, resource, kind, model,
       sum(amount_usd), sum(unverified_usd), count(*) FILTER (WHERE entry = 'commit')
FROM (
  SELECT tenant_id, day, resource, kind, model, amount_usd, unverified_usd, entry,
         CASE WHEN dense_rank() OVER (PARTITION BY tenant_id, day ORDER BY labels) <= 10000 THEN labels
              ELSE (SELECT jsonb_object_agg(key, 'other') FROM jsonb_object_keys(labels) AS key) END AS labels
  FROM (
    SELECT tenant_id, (posted_at AT TIME ZONE 'UTC')::date AS day, labels, resource, kind, coalesce(model, '') AS model, amount_usd,
           unverified_usd, entry
    FROM copilot_internal.cost_records WHERE jsonb_typeof(labels) = 'object') AS lines) AS bounded
GROUP BY 1, 2, 3, 4, 5, 6, 7
ON CONFLICT DO NOTHING;

INSERT INTO copilot_internal.daily_label_sets
SELECT tenant_id, day, count(DISTINCT labels_id) FROM copilot_internal.daily_label_costs GROUP BY 1, 2
ON CONFLICT DO NOTHING;

RESET ROLE;
