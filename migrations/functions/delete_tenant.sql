-- Deletes a tenant with all that is its own. Answers 'deleted'; 'unknown'; or 'busy' while a run is open, money is held or
-- somebody else does not let go in time, and nothing is changed then. It alone keeps inserts out that name the tenant, or what
-- they bring would be left over: last of all, since they may come from whoever holds a reservation or a run.
CREATE OR REPLACE FUNCTION copilot_internal.delete_tenant(p_tenant_id text, p_api_key_id uuid, p_author text, p_reason text)
  RETURNS text
  LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
  SET lock_timeout = '2s'
AS $$
DECLARE
  v_table text;
BEGIN
  IF NOT lock_quotas(p_tenant_id, '{}') OR EXISTS (SELECT FROM tenants WHERE tenant_id = p_tenant_id AND deleted_at IS NOT NULL) THEN
    RETURN 'unknown';
  END IF;
  IF is_busy(p_tenant_id) THEN
    RETURN 'busy';
  END IF;
  PERFORM 1 FROM reservations WHERE tenant_id = p_tenant_id ORDER BY operation_id FOR UPDATE;
  PERFORM 1 FROM runs WHERE tenant_id = p_tenant_id ORDER BY run_id FOR UPDATE;
  PERFORM 1 FROM tenants WHERE tenant_id = p_tenant_id FOR UPDATE;
  -- What came in between is there by now, and nothing more comes.
  IF is_busy(p_tenant_id) THEN
    RETURN 'busy';
  END IF;
  FOREACH v_table IN ARRAY ARRAY['mandates', 'run_limits', 'quota_alerts', 'money_waiters', 'money_requests', 'reply_deltas', 'approvals', 'turns', 'context_compactions',
    'transcript_messages', 'run_events', 'run_files', 'runs', 'cost_records', 'daily_costs', 'daily_label_costs', 'daily_label_sets', 'label_values', 'reservations',
    'user_quota_defaults', 'label_quota_defaults', 'tools', 'frozen_users', 'api_keys', 'audit_entries']
  LOOP
    EXECUTE format('DELETE FROM copilot_internal.%I WHERE tenant_id = $1', v_table) USING p_tenant_id;
  END LOOP;
  -- What it spent of the platform's quotas in a period that still runs stays counted.
  DELETE FROM cost_quotas WHERE tenant_id = p_tenant_id
    AND (lease_of IS NULL OR current_spend_usd = 0 OR period_end <= clock_timestamp());
  UPDATE cost_quotas SET limit_usd = current_spend_usd WHERE tenant_id = p_tenant_id;
  -- Which limits were removed is noted as that happens.
  DELETE FROM limit_changes WHERE tenant_id = p_tenant_id;
  IF EXISTS (SELECT FROM cost_quotas WHERE tenant_id = p_tenant_id) THEN
    UPDATE tenants SET deleted_at = clock_timestamp(), name = '', frozen_at = clock_timestamp(), frozen_reason = 'deleted'
    WHERE tenant_id = p_tenant_id;
  ELSE
    DELETE FROM tenants WHERE tenant_id = p_tenant_id;
  END IF;
  INSERT INTO audit_entries (tenant_id, api_key_id, author, action, details)
  VALUES (NULL, p_api_key_id, p_author, 'delete_tenant', jsonb_build_object('tenantId', p_tenant_id, 'reason', p_reason));
  RETURN 'deleted';
EXCEPTION WHEN lock_not_available THEN
  RETURN 'busy';
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.delete_tenant(text, uuid, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.delete_tenant(text, uuid, text, text) TO spendlock_app;
