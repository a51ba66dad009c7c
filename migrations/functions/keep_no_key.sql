-- Takes a key out of an answer that is kept for repeats, whoever writes it.
CREATE OR REPLACE FUNCTION copilot_internal.keep_no_key() RETURNS trigger
  LANGUAGE plpgsql
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  IF jsonb_typeof(NEW.response_body) = 'object' THEN
    NEW.response_body := NEW.response_body - 'apiKey';
  END IF;
  RETURN NEW;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.keep_no_key() FROM PUBLIC;

CREATE OR REPLACE TRIGGER keep_no_key BEFORE INSERT OR UPDATE ON copilot_internal.idempotent_requests
  FOR EACH ROW EXECUTE FUNCTION copilot_internal.keep_no_key();
