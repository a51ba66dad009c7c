-- Removes a quota of the tenant that the transaction names, or of a user of it: what it was, as the audit keeps it; null where there is no
-- such quota, or a user's that is only the tenant's default. The ledger and open reservations stay as they are: what is settled later
-- counts in the quotas that are there then, and a quota that is made again begins with both. A user gets the tenant's defaults back.
CREATE OR REPLACE FUNCTION copilot_internal.remove_quota(p_tenant_id text, p_scope text, p_scope_id text, p_resource_type text, p_period text)
  RETURNS jsonb
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_removed jsonb;
BEGIN
  DELETE FROM cost_quotas q
  WHERE q.tenant_id = p_tenant_id AND p_tenant_id = current_setting('spendlock.tenant_id', true)
    AND q.scope = p_scope AND q.scope IN ('tenant', 'user') AND q.scope_id = p_scope_id
    AND q.resource_type = p_resource_type AND q.period = p_period AND NOT q.from_default
  RETURNING jsonb_build_object('limitUsd', trim_scale(q.limit_usd)::text, 'topupUsd', trim_scale(q.topup_usd)::text,
    'spentUsd', trim_scale(q.current_spend_usd)::text, 'reservedUsd', trim_scale(q.reserved_usd)::text) INTO v_removed;
  IF v_removed IS NOT NULL AND p_scope = 'user' THEN
    PERFORM add_user_quotas(p_tenant_id, ARRAY[p_scope_id]);
  END IF;
  RETURN v_removed;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.remove_quota(text, text, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.remove_quota(text, text, text, text, text) TO spendlock_app;
