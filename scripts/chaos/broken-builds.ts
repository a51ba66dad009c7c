/**
 * Builds that are broken on purpose, to show that a chaos run tells: each takes one safeguard out of the database that the
 * run makes for itself.
 */
export const brokenBuilds = {
  'row-lock': {
    what: 'decisions of a tenant no longer lock its rows, on a database that takes 20 ms to write them',
    // Without the wait the guard in SQL, which is one statement, leaves a window of about a millisecond.
    sql:
      replaceInFunction('lock_quotas', ' FOR NO KEY UPDATE', '') +
      replaceInFunction(
        'record_budget_batch',
        "PERFORM apply_quota_changes(p_tenant_id, p_batch -> 'changes');",
        "PERFORM apply_quota_changes(p_tenant_id, p_batch -> 'changes'); PERFORM pg_sleep(0.02);",
      ),
  },
  dedupe: {
    what: 'a repeated command is decided again: known reservations are not read',
    sql: replaceInFunction('load_budget_batch', "'reservations', v_reservations", "'reservations', '[]'::jsonb"),
  },
  expiry: {
    what: 'what an expired reservation held is not freed',
    sql: `
      CREATE FUNCTION copilot_internal.leak() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $leak$
      BEGIN
        UPDATE copilot_internal.cost_quotas SET reserved_usd = reserved_usd + NEW.granted_usd
        WHERE tenant_id = NEW.tenant_id AND scope = 'tenant' AND resource_type IN ('all', NEW.resource);
        RETURN NULL;
      END $leak$;
      CREATE TRIGGER leak AFTER UPDATE ON copilot_internal.reservations FOR EACH ROW
        WHEN (NEW.status = 'expired' AND OLD.status = 'granted') EXECUTE FUNCTION copilot_internal.leak();`,
  },
  claim: {
    what: 'a call is made without its claim being written',
    sql: `
      CREATE OR REPLACE FUNCTION copilot_internal.claim_reservation(p_tenant_id text, p_operation_id uuid, p_claim_token uuid)
        RETURNS numeric LANGUAGE sql VOLATILE AS $claim$
        SELECT granted_usd FROM copilot_internal.reservations WHERE tenant_id = p_tenant_id AND operation_id = p_operation_id
      $claim$;`,
  },
} as const;

export type BrokenBuild = keyof typeof brokenBuilds;
export const brokenBuildNames = Object.keys(brokenBuilds) as BrokenBuild[];

/** Changes the text of a function as it stands, and fails when the text is not there. */
function replaceInFunction(name: string, from: string, to: string): string {
  const quote = (text: string): string => `'${text.replaceAll("'", "''")}'`;
  return `
    DO $change$
    DECLARE
      v_old text := (SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = ${quote(name)});
    BEGIN
      IF position(${quote(from)} IN v_old) = 0 THEN RAISE EXCEPTION '${name} has changed: break it in another way'; END IF;
      EXECUTE replace(v_old, ${quote(from)}, ${quote(to)});
    END $change$;`;
}
