-- Takes from a limit what came back of top-ups that have expired, whoever changes its balances or the limit itself: what was held of them
-- when they expired stays for as long as it is held, and nobody else gets it.
CREATE OR REPLACE FUNCTION copilot_internal.take_back_topup() RETURNS trigger
  LANGUAGE plpgsql
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
DECLARE
  v_kept_usd numeric := least(NEW.topup_kept_usd, greatest(NEW.current_spend_usd + NEW.reserved_usd - NEW.limit_usd, 0));
BEGIN
  NEW.topup_usd := NEW.topup_usd - NEW.topup_kept_usd + v_kept_usd;
  NEW.topup_kept_usd := v_kept_usd;
  RETURN NEW;
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.take_back_topup() FROM PUBLIC;

CREATE OR REPLACE TRIGGER changed_topup BEFORE UPDATE ON copilot_internal.cost_quotas
  FOR EACH ROW WHEN (NEW.topup_kept_usd > 0) EXECUTE FUNCTION copilot_internal.take_back_topup();
