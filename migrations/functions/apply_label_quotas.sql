-- Counts what became of reservations for the limits of their labels, and refuses a grant above one (SL001), for whoever decides: it goes by
-- the rows that were written and their own labels, not by what the decision says of them. Under the tenant's lock, before the ledger gets
-- its lines. A decision of the version before knows of no such limits: what it grants counts, and is not refused. Those that are only watched
-- count, and refuse nothing.
--   p_moves: [{operation_id, labels, resource, held_on?, reserved_usd, spent_usd, posted_at, is_grant, sequence?}]; the limits of all of
--   `held_on` hold it, and what is spent counts for its resource alone
--   p_changes: those of the batch, whose order it takes ({operationId, sequence, enforced})
--   p_binds: whether who decided knows these limits
CREATE OR REPLACE FUNCTION copilot_internal.apply_label_quotas(p_tenant_id text, p_moves jsonb, p_changes jsonb, p_binds boolean) RETURNS void
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_labels jsonb[] := ARRAY(SELECT DISTINCT m.labels FROM jsonb_to_recordset(p_moves) AS m (labels jsonb));
  v_scopes jsonb;
  v_scope_ids text[];
  v_crossed jsonb;
  v_moves jsonb;
  v_knew text := coalesce(current_setting('spendlock.label_quotas', true), '');
  v_knew_shadows text := coalesce(current_setting('spendlock.shadow_quotas', true), '');
BEGIN
  -- These rows are kept also by who does not know them.
  PERFORM set_config('spendlock.label_quotas', 'on', true), set_config('spendlock.shadow_quotas', 'on', true);
  IF NOT has_label_quotas(p_tenant_id) THEN
    PERFORM set_config('spendlock.label_quotas', v_knew, true), set_config('spendlock.shadow_quotas', v_knew_shadows, true);
    RETURN;
  END IF;
  PERFORM add_label_quotas(p_tenant_id, v_labels);
  SELECT jsonb_agg(to_jsonb(s)) INTO v_scopes FROM label_scopes(p_tenant_id, v_labels) AS s;
  v_scope_ids := ARRAY(SELECT s ->> 'scope_id' FROM jsonb_array_elements(v_scopes) AS s);
  IF NOT p_binds THEN
    PERFORM reset_label_periods(p_tenant_id, clock_timestamp(), v_scope_ids);
  ELSIF v_knew_shadows <> 'on' THEN
    -- Of one that knows limits of labels and none that are only watched, in the period of what it decided.
    PERFORM reset_label_periods(p_tenant_id, (
      SELECT max(c."postedAt") FROM jsonb_to_recordset(p_changes) AS c ("postedAt" timestamptz)), v_scope_ids);
  END IF;
  WITH covering AS MATERIALIZED (
    SELECT * FROM quotas_of(p_tenant_id, '{}', v_scope_ids) WHERE scope IN ('label', 'shadow_label')
  ), steps AS (
    SELECT "operationId" AS operation_id, min(sequence) AS sequence, bool_or(enforced) AS enforced
    FROM jsonb_to_recordset(p_changes) AS c ("operationId" uuid, sequence integer, enforced boolean)
    WHERE "operationId" IS NOT NULL GROUP BY 1
  ), effects AS MATERIALIZED (
    SELECT q.quota_id, q.resource_type, q.scope_id, q.limit_usd + q.topup_usd AS limit_usd, q.current_spend_usd + q.reserved_usd AS held_usd,
           q.topup_kept_usd AS kept_usd, q.limit_usd AS base_usd,
           m.reserved_usd, CASE WHEN q.resource_type IN ('all', m.resource) AND m.posted_at >= q.period_start AND m.posted_at < q.period_end THEN m.spent_usd ELSE 0 END AS spent_usd,
           -- A grant of nothing is no change of a balance, and lifts none.
           m.is_grant AND p_binds AND q.scope = 'label' AND m.reserved_usd > 0 AND coalesce(t.enforced, true) AS binds,
           coalesce(m.sequence, t.sequence, CASE WHEN m.is_grant THEN 2147483647 ELSE -1 END) AS sequence
    FROM jsonb_to_recordset(p_moves) AS m (operation_id uuid, labels jsonb, resource text, held_on jsonb, sequence integer, reserved_usd numeric, spent_usd numeric,
           posted_at timestamptz, is_grant boolean)
    JOIN jsonb_to_recordset(v_scopes) AS s (key text, value text, scope_id text) ON m.labels ->> s.key = s.value
    JOIN covering q ON q.scope_id = s.scope_id AND (q.resource_type IN ('all', m.resource) OR m.held_on ? q.resource_type)
    LEFT JOIN steps t ON t.operation_id = m.operation_id
  ), lifted AS MATERIALIZED (
    -- As apply_quota_changes has it.
    SELECT l.*, l.kept_usd - least(l.kept_usd, greatest(min(l.lifted_to_usd) OVER (PARTITION BY l.quota_id ORDER BY l.sequence) - l.base_usd, 0))
             AS taken_back_usd
    FROM (
      SELECT e.*, held_usd + sum(reserved_usd + spent_usd) OVER (PARTITION BY quota_id ORDER BY sequence) AS lifted_to_usd
      FROM effects e) AS l
  ), crossed AS (
    SELECT * FROM lifted
    WHERE binds AND lifted_to_usd > limit_usd - taken_back_usd
    ORDER BY sequence LIMIT 1
  )
  SELECT (SELECT to_jsonb(crossed) FROM crossed), (SELECT jsonb_agg(to_jsonb(t)) FROM (
    SELECT quota_id, sum(reserved_usd) AS reserved_usd, sum(spent_usd) AS spent_usd, max(taken_back_usd) AS taken_back_usd
    FROM lifted GROUP BY quota_id) AS t)
  INTO v_crossed, v_moves;
  IF v_crossed IS NULL THEN
    PERFORM move_quotas(v_moves);
  END IF;
  PERFORM set_config('spendlock.label_quotas', v_knew, true), set_config('spendlock.shadow_quotas', v_knew_shadows, true);
  IF v_crossed IS NOT NULL THEN
    RAISE EXCEPTION 'quota_guard: a grant would lift the % quota of label % to % USD, above its limit of % USD; nothing was recorded',
      v_crossed ->> 'resource_type', v_crossed ->> 'scope_id', v_crossed ->> 'lifted_to_usd',
      (v_crossed ->> 'limit_usd')::numeric - (v_crossed ->> 'taken_back_usd')::numeric
      USING ERRCODE = 'SL001';
  END IF;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.apply_label_quotas(text, jsonb, jsonb, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.apply_label_quotas(text, jsonb, jsonb, boolean) TO spendlock_app;
