-- How many values of a label of a tenant are told apart; what is beyond is `other`.
CREATE OR REPLACE FUNCTION copilot_internal.label_values_max() RETURNS integer
  LANGUAGE sql IMMUTABLE PARALLEL SAFE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$ SELECT 1000 $$;
REVOKE EXECUTE ON FUNCTION copilot_internal.label_values_max() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.label_values_max() TO spendlock_app;
