-- Of each line of the ledger, by how much it changes what is charged by estimate and not verified: an estimate raises it, and
-- what corrects an operation takes away what is left of its estimate, whatever the correction comes to. A correction to a part
-- that is known is itself unverified at that part.
CREATE OR REPLACE FUNCTION copilot_internal.count_unverified() RETURNS trigger
  LANGUAGE plpgsql SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  NEW.unverified_usd := CASE
    WHEN NEW.settlement = 'unverified' THEN NEW.amount_usd
    ELSE -coalesce((SELECT sum(unverified_usd) FROM costs_of(NEW.tenant_id, NEW.operation_id)), 0)
  END;
  RETURN NEW;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.count_unverified() FROM PUBLIC;

CREATE OR REPLACE TRIGGER unverified_costs BEFORE INSERT ON copilot_internal.cost_records
  FOR EACH ROW WHEN (NEW.settlement = 'unverified' OR NEW.entry <> 'commit')
  EXECUTE FUNCTION copilot_internal.count_unverified();
