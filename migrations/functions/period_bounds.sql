-- First moment of the period around `at`, and of the next one, in UTC; weeks start on Monday. A lifetime has one period.
CREATE OR REPLACE FUNCTION copilot_internal.period_bounds(period text, at timestamptz,
    OUT period_start timestamptz, OUT period_end timestamptz)
  LANGUAGE sql STABLE PARALLEL SAFE
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT CASE period WHEN 'lifetime' THEN timestamptz '1970-01-01 00:00:00+00' ELSE date_trunc(period, at, 'UTC') END,
         CASE period WHEN 'lifetime' THEN timestamptz '9999-12-31 00:00:00+00'
                     ELSE (date_trunc(period, at AT TIME ZONE 'UTC') + ('1 ' || period)::interval) AT TIME ZONE 'UTC' END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.period_bounds(text, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.period_bounds(text, timestamptz) TO spendlock_app;
