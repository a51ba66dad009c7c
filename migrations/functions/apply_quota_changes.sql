-- The guard below `core`, for a transaction that holds the tenant's locks: it finds the quotas of each change by itself (the
-- tenant's leases among them), replays the batch in order, and refuses when a grant lifts spent + reserved above a limit,
-- whoever asked for it. A spend counts in the period that holds its moment. Answers how many quotas changed. Raises SL001
-- (quota_guard) and changes nothing when it refuses. Limits that are only watched count with the others, whoever decided, and refuse nothing.
CREATE OR REPLACE FUNCTION copilot_internal.apply_quota_changes(p_tenant_id text, p_changes jsonb) RETURNS integer
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_crossed jsonb;
  v_moves jsonb;
  v_updated integer;
  v_user_ids text[] := ARRAY(SELECT DISTINCT change ->> 'userId' FROM jsonb_array_elements(p_changes) AS change WHERE change ? 'userId');
  -- By operation, where the limits of several resources hold what it moves.
  v_held_on jsonb := nullif(current_setting('spendlock.held_on', true), '');
  v_knew text := coalesce(current_setting('spendlock.shadow_quotas', true), '');
BEGIN
  IF jsonb_array_length(p_changes) = 0 THEN
    RETURN 0;
  END IF;
  -- One of the version before does not know of watched limits and began no period of theirs: they are in that of what it decided.
  IF v_knew <> 'on' THEN
    PERFORM set_config('spendlock.shadow_quotas', 'on', true);
    PERFORM reset_ended_periods(p_tenant_id, (
      SELECT max(c."postedAt") FROM jsonb_to_recordset(p_changes) AS c ("postedAt" timestamptz)), v_user_ids);
  END IF;
  WITH covering AS MATERIALIZED (
    SELECT * FROM quotas_of(p_tenant_id, v_user_ids, '{}')
  ), effects AS MATERIALIZED (
    SELECT q.quota_id, q.scope, q.scope_id, q.resource_type, q.limit_usd + q.topup_usd AS limit_usd, c.sequence,
           c."grant" AND c.enforced AND q.scope NOT IN ('shadow_tenant', 'shadow_user') AS binds, c."reservedDeltaUsd" AS reserved_delta_usd,
           CASE WHEN q.resource_type IN ('all', c.resource) AND c."postedAt" >= q.period_start AND c."postedAt" < q.period_end THEN c."spentDeltaUsd" ELSE 0 END AS spent_delta_usd,
           q.current_spend_usd + q.reserved_usd AS held_usd, q.topup_kept_usd AS kept_usd, q.limit_usd AS base_usd
    FROM jsonb_to_recordset(p_changes) AS c (
           sequence integer, "operationId" text, "userId" text, resource text, "reservedDeltaUsd" numeric, "spentDeltaUsd" numeric,
           "postedAt" timestamptz, "grant" boolean, enforced boolean)
    CROSS JOIN LATERAL (VALUES ('platform', 'platform'), ('tenant', p_tenant_id), ('user', c."userId"),
      ('shadow_tenant', p_tenant_id), ('shadow_user', c."userId")) AS payer (scope, scope_id)
    JOIN covering q ON q.scope = payer.scope AND q.scope_id = payer.scope_id AND (q.resource_type IN ('all', c.resource) OR v_held_on -> c."operationId" ? q.resource_type)
  ), lifted AS MATERIALIZED (
    -- What came back of a top-up that has expired is nobody's any more, whatever is granted after it.
    SELECT l.*, l.kept_usd - least(l.kept_usd, greatest(min(l.lifted_to_usd) OVER (PARTITION BY l.quota_id ORDER BY l.sequence) - l.base_usd, 0))
             AS taken_back_usd
    FROM (
      SELECT e.*, e.held_usd + sum(e.reserved_delta_usd + e.spent_delta_usd)
               OVER (PARTITION BY e.quota_id ORDER BY e.sequence) AS lifted_to_usd
      FROM effects e) AS l
  ), crossed AS (
    SELECT * FROM lifted
    WHERE binds AND lifted_to_usd > limit_usd - taken_back_usd
    ORDER BY sequence LIMIT 1
  )
  SELECT (SELECT to_jsonb(crossed) FROM crossed), (SELECT jsonb_agg(to_jsonb(t)) FROM (
    SELECT quota_id, sum(reserved_delta_usd) AS reserved_usd, sum(spent_delta_usd) AS spent_usd, max(taken_back_usd) AS taken_back_usd
    FROM lifted GROUP BY quota_id) AS t)
  INTO v_crossed, v_moves;
  IF v_crossed IS NOT NULL THEN
    RAISE EXCEPTION 'quota_guard: change % would lift the % quota of % % to % USD, above its limit of % USD; nothing was recorded',
      v_crossed ->> 'sequence', v_crossed ->> 'resource_type', v_crossed ->> 'scope', v_crossed ->> 'scope_id',
      v_crossed ->> 'lifted_to_usd', (v_crossed ->> 'limit_usd')::numeric - (v_crossed ->> 'taken_back_usd')::numeric
      USING ERRCODE = 'SL001';
  END IF;
  v_updated := move_quotas(v_moves);
  PERFORM set_config('spendlock.shadow_quotas', v_knew, true);
  RETURN v_updated;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.apply_quota_changes(text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.apply_quota_changes(text, jsonb) TO spendlock_app;
