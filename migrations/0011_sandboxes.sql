-- Up Migration
-- Sandboxes for operators: how many run, for telemetry, and their prices by API.
SET LOCAL ROLE spendlock_owner;

CREATE INDEX reservations_sandboxes ON copilot_internal.reservations (kind)
  WHERE status = 'granted' AND outcome IS NULL AND kind LIKE 'sandbox.%';

-- Windows of sandboxes that are paid for now: one for each sandbox that runs.
CREATE FUNCTION copilot_internal.count_running_sandboxes() RETURNS integer
  LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
  SELECT count(*)::integer FROM reservations
  WHERE status = 'granted' AND outcome IS NULL AND kind LIKE 'sandbox.%' AND claimed_at IS NOT NULL
$$;

-- Adds a version of a tier's price; `p_price` is an object whose keys are the table's columns.
CREATE FUNCTION copilot_internal.add_sandbox_price(p_price jsonb, p_api_key_id uuid, p_author text) RETURNS void
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  INSERT INTO sandbox_prices (price_version, provider, tier, vcpu, memory_mib, effective_from, vcpu_second_usd, gib_second_usd,
    notes, source, source_date)
  SELECT p.price_version, p.provider, p.tier, p.vcpu, p.memory_mib, p.effective_from, p.vcpu_second_usd, p.gib_second_usd,
    coalesce(p.notes, ''), p.source, p.source_date
  FROM jsonb_populate_record(NULL::sandbox_prices, p_price) AS p;
  INSERT INTO audit_entries (api_key_id, author, action, details)
  VALUES (p_api_key_id, p_author, 'add_prices', jsonb_build_array(p_price ->> 'price_version'));
END
$$;

REVOKE EXECUTE ON FUNCTION
  copilot_internal.count_running_sandboxes(),
  copilot_internal.add_sandbox_price(jsonb, uuid, text)
  FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
  copilot_internal.count_running_sandboxes(),
  copilot_internal.add_sandbox_price(jsonb, uuid, text)
  TO spendlock_app;
RESET ROLE;
