-- What stands in the sums of a day for a set of labels beyond those that it tells apart: the same keys.
CREATE OR REPLACE FUNCTION copilot_internal.other_labels(p_labels jsonb) RETURNS jsonb
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT coalesce(jsonb_object_agg(key, 'other'), '{}') FROM jsonb_object_keys(p_labels) AS key
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.other_labels(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.other_labels(jsonb) TO spendlock_app;
