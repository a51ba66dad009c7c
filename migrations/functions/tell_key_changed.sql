-- Tells every process that serves a key that its end has changed: it forgets what it remembered of it, and ends what is open
-- under it.
CREATE OR REPLACE FUNCTION copilot_internal.tell_key_changed() RETURNS trigger
  LANGUAGE plpgsql
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  PERFORM pg_notify('spendlock_keys', OLD.api_key_id::text);
  RETURN NULL;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.tell_key_changed() FROM PUBLIC;

CREATE OR REPLACE TRIGGER key_changed AFTER UPDATE OF revoked_at OR DELETE ON copilot_internal.api_keys
  FOR EACH ROW EXECUTE FUNCTION copilot_internal.tell_key_changed();
