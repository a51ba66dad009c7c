-- Factors on a price: {"serviceTier" | "speed" | "inferenceGeo": {"<value>": "<decimal above 0>"}}.
CREATE OR REPLACE FUNCTION copilot_internal.are_price_multipliers(multipliers jsonb) RETURNS boolean
  LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_kind record;
  v_factor record;
BEGIN
  IF jsonb_typeof(multipliers) <> 'object' THEN
    RETURN false;
  END IF;
  FOR v_kind IN SELECT * FROM jsonb_each(multipliers) LOOP
    IF v_kind.key NOT IN ('serviceTier', 'speed', 'inferenceGeo') OR jsonb_typeof(v_kind.value) <> 'object' THEN
      RETURN false;
    END IF;
    FOR v_factor IN SELECT * FROM jsonb_each(v_kind.value) LOOP
      IF jsonb_typeof(v_factor.value) <> 'string'
        OR v_factor.value #>> '{}' !~ '^(0|[1-9][0-9]{0,3})([.][0-9]{1,6})?$'
        OR (v_factor.value #>> '{}')::numeric = 0 THEN
        RETURN false;
      END IF;
    END LOOP;
  END LOOP;
  RETURN true;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.are_price_multipliers(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.are_price_multipliers(jsonb) TO spendlock_app;
