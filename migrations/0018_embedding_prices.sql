-- Prices of OpenAI's models of embeddings, which the wire proxy passes on. They write nothing, so that their output has the rate 0.
-- Where an installation has set one of its own for the same moment, that stays.
SET LOCAL ROLE spendlock_owner;

INSERT INTO copilot_internal.model_prices (
  price_version, provider, model, effective_from, input_usd_per_mtok, output_usd_per_mtok, multipliers, notes, source, source_date)
SELECT 'openai/' || model || '@2026-01-04', 'openai', model, '2026-01-04T00:00:00Z', input_usd, 0, '{}', 'Embeddings: there is no output.',
  'https://platform.openai.com/docs/pricing', '2025-07-04'
FROM (VALUES
  ('text-embedding-3-small', 0.02),
  ('text-embedding-3-large', 0.13),
  ('text-embedding-ada-002', 0.10)
) AS embeddings (model, input_usd)
ON CONFLICT DO NOTHING;

RESET ROLE;
