-- How many sets of labels the sums of a tenant's day tell apart: what a month by a label takes follows from it (docs/performance.md).
CREATE OR REPLACE FUNCTION copilot_internal.label_sets_max() RETURNS integer
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$ SELECT 10000 $$;
REVOKE EXECUTE ON FUNCTION copilot_internal.label_sets_max() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.label_sets_max() TO spendlock_app;
