-- What caches of prompts saved of an entry of the ledger: its usage says so, which comes from outside and may say anything.
CREATE OR REPLACE FUNCTION copilot_internal.cache_saved(p_usage jsonb) RETURNS numeric
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE WHEN p_usage ->> 'cacheSavedUsd' ~ '^-?[0-9]{1,9}([.][0-9]{1,12})?$' THEN (p_usage ->> 'cacheSavedUsd')::numeric ELSE 0 END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.cache_saved(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.cache_saved(jsonb) TO spendlock_app;
