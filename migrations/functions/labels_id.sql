-- One id for each set of labels, by which an index finds it whatever its size.
CREATE OR REPLACE FUNCTION copilot_internal.labels_id(p_labels jsonb) RETURNS uuid
  LANGUAGE sql STABLE PARALLEL SAFE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT encode(substr(sha256(convert_to(p_labels::text, 'UTF8')), 1, 16), 'hex')::uuid
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.labels_id(jsonb) FROM PUBLIC;
