-- Limits of labels whose sums are not those of the ledger's lines in their period and of the open reservations that count for them, each
-- line and each reservation looked at once, however many limits there are.
CREATE OR REPLACE FUNCTION copilot_internal.label_quotas_wrong(p_tenant_id text)
  RETURNS TABLE (quota_id uuid, spent_usd numeric, reserved_usd numeric, ledger_usd numeric, open_usd numeric)
  LANGUAGE sql STABLE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  WITH quotas AS MATERIALIZED (
    SELECT q.*, split_part(q.scope_id, ':', 1) AS key, substr(q.scope_id, strpos(q.scope_id, ':') + 1) AS value
    FROM cost_quotas q WHERE q.tenant_id = p_tenant_id AND q.scope IN ('label', 'shadow_label')
  ), spent AS MATERIALIZED (
    SELECT p.period_start, p.period_end, l.key, l.value, c.resource, sum(c.amount_usd) AS usd
    FROM (SELECT DISTINCT q.period_start, q.period_end FROM quotas q) AS p
    JOIN cost_records c ON c.tenant_id = p_tenant_id AND c.posted_at >= p.period_start AND c.posted_at < p.period_end
    CROSS JOIN LATERAL jsonb_each_text(CASE WHEN jsonb_typeof(c.labels) = 'object' THEN c.labels ELSE '{}' END) AS l
    GROUP BY 1, 2, 3, 4, 5
  ), held AS MATERIALIZED (
    SELECT s.scope_id, r.resource, r.held_on, sum(r.usd) AS usd
    FROM (SELECT o.labels, o.resource, o.held_on, sum(o.granted_usd) AS usd FROM reservations o
          WHERE o.tenant_id = p_tenant_id AND o.status = 'granted' AND o.labels IS NOT NULL GROUP BY 1, 2, 3) AS r
    CROSS JOIN LATERAL label_scopes(p_tenant_id, ARRAY[r.labels]) AS s
    GROUP BY 1, 2, 3
  ), sums AS (
    SELECT q.quota_id, q.current_spend_usd, q.reserved_usd, coalesce(a.usd, 0) AS ledger_usd, coalesce(b.usd, 0) AS open_usd
    FROM quotas q
    LEFT JOIN (
      SELECT q.quota_id, sum(s.usd) AS usd FROM quotas q
      JOIN spent s USING (period_start, period_end, key, value) WHERE q.resource_type IN ('all', s.resource) GROUP BY 1) AS a USING (quota_id)
    LEFT JOIN (
      SELECT q.quota_id, sum(h.usd) AS usd FROM quotas q
      JOIN held h USING (scope_id) WHERE q.resource_type IN ('all', h.resource) OR q.resource_type = ANY (h.held_on) GROUP BY 1) AS b USING (quota_id)
  )
  SELECT s.quota_id, s.current_spend_usd, s.reserved_usd, s.ledger_usd, s.open_usd FROM sums s
  WHERE (s.current_spend_usd, s.reserved_usd) <> (s.ledger_usd, s.open_usd)
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.label_quotas_wrong(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.label_quotas_wrong(text) TO spendlock_app;
