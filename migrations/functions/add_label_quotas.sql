-- Notes the values of labels of which each counts for some limit, before anything of them is decided or counted, and gives new ones the
-- defaults of their keys: so that what a value counts for never changes afterwards, and the first calls of a value nobody has seen before are
-- bound together. That is so of keys that have a limit of `other`, as all have that have a default; a limit of one value notes that one
-- when it is set (seed_label_quotas), and values of other keys are noted by the ledger, so that what gets no money uses up no place of theirs.
-- Of a value of such a key that was not noted there is neither a line of the ledger nor an open reservation: its limits begin at nothing.
-- Under the tenant's lock.
CREATE OR REPLACE FUNCTION copilot_internal.add_label_quotas(p_tenant_id text, p_labels jsonb[]) RETURNS void
  LANGUAGE plpgsql VOLATILE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_labels jsonb[] := ARRAY(SELECT l FROM unnest(p_labels) AS l WHERE jsonb_typeof(l) = 'object');
  v_fresh jsonb := (
    SELECT jsonb_agg(jsonb_build_object('key', s.key, 'value', s.value)) FROM label_scopes(p_tenant_id, v_labels) AS s
    WHERE s.value <> 'other' AND s.scope_id = s.key || ':' || s.value
      AND NOT EXISTS (SELECT FROM label_values v WHERE v.tenant_id = p_tenant_id AND v.key = s.key AND v.value = s.value)
      AND coalesce(
        (SELECT true FROM cost_quotas q WHERE q.tenant_id = p_tenant_id AND q.scope = 'label' AND q.scope_id = s.key || ':other' LIMIT 1),
        (SELECT true FROM cost_quotas q WHERE q.tenant_id = p_tenant_id AND q.scope = 'shadow_label' AND q.scope_id = s.key || ':other' LIMIT 1)));
BEGIN
  IF v_fresh IS NULL THEN
    RETURN;
  END IF;
  PERFORM note_label_values(p_tenant_id, ARRAY(
    SELECT jsonb_build_object(f.key, f.value) FROM jsonb_to_recordset(v_fresh) AS f (key text, value text)));
  INSERT INTO cost_quotas (tenant_id, scope, scope_id, resource_type, period, limit_usd, warning_threshold, from_default, period_start, period_end)
  SELECT d.tenant_id, 'label', v.key || ':' || v.value, d.resource_type, d.period, d.limit_usd, d.warning_threshold, true,
         b.period_start, b.period_end
  FROM jsonb_to_recordset(v_fresh) AS f (key text, value text)
  JOIN label_values v ON v.tenant_id = p_tenant_id AND v.key = f.key AND v.value = f.value
  JOIN label_quota_defaults d ON d.tenant_id = v.tenant_id AND d.key = v.key
  CROSS JOIN LATERAL period_bounds(d.period, clock_timestamp()) AS b
  ON CONFLICT DO NOTHING;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.add_label_quotas(text, jsonb[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.add_label_quotas(text, jsonb[]) TO spendlock_app;
