-- Adds a version of a tier's price; `p_price` is an object whose keys are the table's columns.
CREATE OR REPLACE FUNCTION copilot_internal.add_sandbox_price(p_price jsonb, p_api_key_id uuid, p_author text) RETURNS void
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
  VALUES (p_api_key_id, p_author, 'add_prices', jsonb_build_object('priceVersions', jsonb_build_array(p_price ->> 'price_version')));
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.add_sandbox_price(jsonb, uuid, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.add_sandbox_price(jsonb, uuid, text) TO spendlock_app;
