-- Refuses every change of a price (SL002), whoever asks: lines of the ledger name their version.
CREATE OR REPLACE FUNCTION copilot_internal.refuse_price_change() RETURNS trigger
  LANGUAGE plpgsql
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  RAISE EXCEPTION 'a price in % is never changed or deleted, since ledger lines name its version; nothing was changed', TG_TABLE_NAME
    USING ERRCODE = 'SL002', HINT = 'Insert a new version with a later effective_from.';
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.refuse_price_change() FROM PUBLIC;

CREATE OR REPLACE TRIGGER refuse_price_change BEFORE UPDATE OR DELETE OR TRUNCATE ON copilot_internal.model_prices
  FOR EACH STATEMENT EXECUTE FUNCTION copilot_internal.refuse_price_change();
CREATE OR REPLACE TRIGGER refuse_price_change BEFORE UPDATE OR DELETE OR TRUNCATE ON copilot_internal.sandbox_prices
  FOR EACH STATEMENT EXECUTE FUNCTION copilot_internal.refuse_price_change();
