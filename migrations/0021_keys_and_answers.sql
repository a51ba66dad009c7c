-- Up Migration
-- The end of a key is told to every process at once, keys are never kept with answers, and an Idempotency-Key counts for a
-- tenant (or for the administration), not for the one key that it was first sent with.
SET LOCAL ROLE spendlock_owner;

-- Whoever serves a key listens: it forgets what it remembered of it, and ends what is open under it.
CREATE FUNCTION copilot_internal.tell_key_changed() RETURNS trigger
  LANGUAGE plpgsql
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  PERFORM pg_notify('spendlock_keys', OLD.api_key_id::text);
  RETURN NULL;
END
$$;
CREATE TRIGGER key_changed AFTER UPDATE OF revoked_at OR DELETE ON copilot_internal.api_keys
  FOR EACH ROW EXECUTE FUNCTION copilot_internal.tell_key_changed();

-- Who a key speaks for, and until when. `authenticate_api_key` stays for processes of the version before.
CREATE FUNCTION copilot_internal.find_api_key(p_key_hash bytea)
  RETURNS TABLE (api_key_id uuid, tenant_id text, revoked_at timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT k.api_key_id, k.tenant_id, k.revoked_at FROM api_keys k
  WHERE k.key_hash = p_key_hash AND (k.revoked_at IS NULL OR k.revoked_at > clock_timestamp())
$$;

-- Which of these keys end, and when; those that are gone have ended.
CREATE FUNCTION copilot_internal.ends_of_api_keys(p_api_key_ids uuid[])
  RETURNS TABLE (api_key_id uuid, revoked_at timestamptz)
  LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT asked.api_key_id, coalesce(k.revoked_at, 'epoch')
  FROM unnest(p_api_key_ids) AS asked (api_key_id) LEFT JOIN api_keys k USING (api_key_id)
  WHERE k.api_key_id IS NULL OR k.revoked_at IS NOT NULL
$$;

-- Whether a key is good, and stays so until the caller's transaction ends: a revocation waits for it.
CREATE FUNCTION copilot_internal.hold_api_key(p_api_key_id uuid) RETURNS boolean
  LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  PERFORM FROM api_keys
  WHERE api_key_id = p_api_key_id AND (revoked_at IS NULL OR revoked_at > clock_timestamp()) FOR SHARE;
  RETURN FOUND;
END
$$;

-- Rows of processes of the version before have no seed and no tenant. They count for their key, as they did.
ALTER TABLE copilot_internal.idempotent_requests ADD COLUMN tenant_id text, ADD COLUMN seed uuid;
-- Of requests that two keys of one owner sent under one name the first stays.
DELETE FROM copilot_internal.idempotent_requests WHERE (api_key_id, idempotency_key) IN (
  SELECT api_key_id, idempotency_key FROM (
    SELECT r.api_key_id, r.idempotency_key, row_number() OVER (
      PARTITION BY k.tenant_id, r.idempotency_key ORDER BY r.response_status IS NULL, r.created_at, r.api_key_id) AS place
    FROM copilot_internal.idempotent_requests r JOIN copilot_internal.api_keys k USING (api_key_id)) AS placed
  WHERE place > 1);
UPDATE copilot_internal.idempotent_requests r
SET tenant_id = k.tenant_id, response_body = r.response_body - 'apiKey',
    seed = CASE WHEN r.response_status IS NULL THEN (r.response_body ->> 'seed')::uuid ELSE gen_random_uuid() END
FROM copilot_internal.api_keys k WHERE k.api_key_id = r.api_key_id;
CREATE UNIQUE INDEX idempotent_requests_once ON copilot_internal.idempotent_requests (tenant_id, idempotency_key)
  NULLS NOT DISTINCT WHERE seed IS NOT NULL;

-- Whoever writes an answer, a key in it is not kept.
CREATE FUNCTION copilot_internal.keep_no_key() RETURNS trigger
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
CREATE TRIGGER keep_no_key BEFORE INSERT OR UPDATE ON copilot_internal.idempotent_requests
  FOR EACH ROW EXECUTE FUNCTION copilot_internal.keep_no_key();

ALTER TABLE copilot_internal.idempotent_requests ENABLE ROW LEVEL SECURITY;
ALTER TABLE copilot_internal.idempotent_requests FORCE ROW LEVEL SECURITY;
CREATE POLICY owner_sees_all ON copilot_internal.idempotent_requests TO spendlock_owner USING (true);
CREATE POLICY one_tenant ON copilot_internal.idempotent_requests TO spendlock_app
  USING (tenant_id = current_setting('spendlock.tenant_id', true));
CREATE POLICY administration_answers ON copilot_internal.idempotent_requests TO spendlock_app
  USING (tenant_id IS NULL AND coalesce(current_setting('spendlock.tenant_id', true), '') = '')
  WITH CHECK (tenant_id IS NULL AND coalesce(current_setting('spendlock.tenant_id', true), '') = '');

REVOKE EXECUTE ON FUNCTION
  copilot_internal.tell_key_changed(),
  copilot_internal.find_api_key(bytea),
  copilot_internal.ends_of_api_keys(uuid[]),
  copilot_internal.hold_api_key(uuid),
  copilot_internal.keep_no_key()
  FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
  copilot_internal.find_api_key(bytea),
  copilot_internal.ends_of_api_keys(uuid[]),
  copilot_internal.hold_api_key(uuid)
  TO spendlock_app;

RESET ROLE;
