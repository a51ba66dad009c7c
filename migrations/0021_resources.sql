-- Resources by name (docs/decisions/0057): a paid step is billed as `llm`, `e2b`, or another such as `geocoding`, and a limit is of one of
-- them or of `all`. How a name is spelled core/resources.ts says too. Rows that are there hold names that were allowed before, so that no table
-- is read to look at them once more: its lock is held for as long as it takes to note the constraint.
SET LOCAL ROLE spendlock_owner;

DO $names$
DECLARE
  v_of text[];
BEGIN
  -- `all` is for limits.
  FOREACH v_of SLICE 1 IN ARRAY ARRAY[
    ['cost_quotas', 'resource_type', ''], ['user_quota_defaults', 'resource_type', ''], ['label_quota_defaults', 'resource_type', ''],
    ['money_waiters', 'resource', $$ AND resource <> 'all'$$], ['reservations', 'resource', $$ AND resource <> 'all'$$],
    ['cost_records', 'resource', $$ AND resource <> 'all'$$]]
  LOOP
    EXECUTE format('ALTER TABLE copilot_internal.%I DROP CONSTRAINT IF EXISTS %I', v_of[1], v_of[1] || '_' || v_of[2] || '_check');
    EXECUTE format('ALTER TABLE copilot_internal.%I ADD CONSTRAINT %I CHECK (%I ~ %L%s) NOT VALID',
      v_of[1], v_of[1] || '_' || v_of[2] || '_check', v_of[2], '^[a-z][a-z0-9_.-]{0,31}$', v_of[3]);
  END LOOP;
END
$names$;

RESET ROLE;
