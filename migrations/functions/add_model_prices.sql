-- Adds versions of model prices, all or none. `p_prices` is a list of objects whose keys are the table's columns; what is
-- absent is NULL, or the column's default.
CREATE OR REPLACE FUNCTION copilot_internal.add_model_prices(p_prices jsonb, p_api_key_id uuid, p_author text) RETURNS void
  LANGUAGE plpgsql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, copilot_internal, pg_temp
AS $$
BEGIN
  INSERT INTO model_prices (
    price_version, provider, model, effective_from,
    input_usd_per_mtok, output_usd_per_mtok, cache_read_usd_per_mtok, cache_write_5m_usd_per_mtok, cache_write_1h_usd_per_mtok,
    long_context_threshold_tokens, long_context_input_usd_per_mtok, long_context_output_usd_per_mtok,
    long_context_cache_read_usd_per_mtok, long_context_cache_write_5m_usd_per_mtok, long_context_cache_write_1h_usd_per_mtok,
    web_search_usd_per_thousand, multipliers, notes, source, source_date)
  SELECT
    p.price_version, p.provider, p.model, p.effective_from,
    p.input_usd_per_mtok, p.output_usd_per_mtok, p.cache_read_usd_per_mtok, p.cache_write_5m_usd_per_mtok, p.cache_write_1h_usd_per_mtok,
    p.long_context_threshold_tokens, p.long_context_input_usd_per_mtok, p.long_context_output_usd_per_mtok,
    p.long_context_cache_read_usd_per_mtok, p.long_context_cache_write_5m_usd_per_mtok, p.long_context_cache_write_1h_usd_per_mtok,
    p.web_search_usd_per_thousand, coalesce(p.multipliers, '{}'), coalesce(p.notes, ''), p.source, p.source_date
  FROM jsonb_populate_recordset(NULL::model_prices, p_prices) AS p;
  INSERT INTO audit_entries (api_key_id, author, action, details)
  VALUES (p_api_key_id, p_author, 'add_prices', (
    SELECT jsonb_build_object('priceVersions', jsonb_agg(p ->> 'price_version')) FROM jsonb_array_elements(p_prices) AS p));
END
$$;
REVOKE EXECUTE ON FUNCTION copilot_internal.add_model_prices(jsonb, uuid, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION copilot_internal.add_model_prices(jsonb, uuid, text) TO spendlock_app;
