-- Who sees which rows, and what the application may do with them. What it may call is said in functions/, beside each function.
SET LOCAL ROLE spendlock_owner;

-- Row security: the application sees the tenant that its transaction names. The owner, and so each SECURITY DEFINER function, sees
-- all. Prices and the installation belong to nobody.
DO $security$
DECLARE
  v_table text;
BEGIN
  FOREACH v_table IN ARRAY ARRAY['tenants', 'frozen_users', 'cost_quotas', 'user_quota_defaults', 'quota_alerts', 'money_waiters',
    'reservations', 'cost_records', 'daily_costs', 'runs', 'run_files', 'transcript_messages', 'context_compactions', 'run_events',
    'turns', 'approvals', 'reply_deltas', 'api_keys', 'idempotent_requests', 'audit_entries']
  LOOP
    EXECUTE format('ALTER TABLE copilot_internal.%I ENABLE ROW LEVEL SECURITY', v_table);
    EXECUTE format('ALTER TABLE copilot_internal.%I FORCE ROW LEVEL SECURITY', v_table);
    EXECUTE format('CREATE POLICY owner_sees_all ON copilot_internal.%I TO spendlock_owner USING (true)', v_table);
    EXECUTE format('CREATE POLICY one_tenant ON copilot_internal.%I TO spendlock_app
      USING (tenant_id = current_setting(''spendlock.tenant_id'', true))', v_table);
  END LOOP;
END
$security$;

-- Beyond its own rows every tenant's decision reads the platform's quotas, which only functions change, and raises their alerts.
CREATE POLICY platform_quotas ON copilot_internal.cost_quotas FOR SELECT TO spendlock_app USING (tenant_id IS NULL);
CREATE POLICY platform_alerts ON copilot_internal.quota_alerts TO spendlock_app
  USING (tenant_id IS NULL) WITH CHECK (tenant_id IS NULL);

-- Administration, which names no tenant, has rows without one.
CREATE POLICY administration_keys ON copilot_internal.api_keys TO spendlock_app
  USING (tenant_id IS NULL AND coalesce(current_setting('spendlock.tenant_id', true), '') = '')
  WITH CHECK (tenant_id IS NULL AND coalesce(current_setting('spendlock.tenant_id', true), '') = '');
CREATE POLICY administration_answers ON copilot_internal.idempotent_requests TO spendlock_app
  USING (tenant_id IS NULL AND coalesce(current_setting('spendlock.tenant_id', true), '') = '')
  WITH CHECK (tenant_id IS NULL AND coalesce(current_setting('spendlock.tenant_id', true), '') = '');
CREATE POLICY administration_audit ON copilot_internal.audit_entries TO spendlock_app
  USING (tenant_id IS NULL AND coalesce(current_setting('spendlock.tenant_id', true), '') = '')
  WITH CHECK (tenant_id IS NULL AND coalesce(current_setting('spendlock.tenant_id', true), '') = '');

GRANT SELECT ON copilot_internal.installation, copilot_internal.model_prices, copilot_internal.sandbox_prices,
  copilot_internal.daily_costs TO spendlock_app;
GRANT SELECT, INSERT ON copilot_internal.tenants, copilot_internal.cost_records, copilot_internal.run_events,
  copilot_internal.run_files, copilot_internal.transcript_messages, copilot_internal.context_compactions,
  copilot_internal.audit_entries TO spendlock_app;
GRANT SELECT, INSERT, UPDATE ON copilot_internal.cost_quotas, copilot_internal.reservations, copilot_internal.quota_alerts,
  copilot_internal.runs, copilot_internal.turns, copilot_internal.approvals, copilot_internal.api_keys TO spendlock_app;
GRANT SELECT, INSERT, DELETE ON copilot_internal.reply_deltas TO spendlock_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON copilot_internal.user_quota_defaults, copilot_internal.frozen_users,
  copilot_internal.money_waiters, copilot_internal.idempotent_requests TO spendlock_app;
-- A row lock asks for an UPDATE privilege on some column.
GRANT UPDATE (name, frozen_at, frozen_reason, on_unavailable, answer_timeout_ms) ON copilot_internal.tenants TO spendlock_app;

RESET ROLE;
