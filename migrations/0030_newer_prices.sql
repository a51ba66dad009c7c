-- Prices of models that had no source for every rate when 0005 was made, or came since (docs/prices.md). What an installation has priced by
-- itself keeps its price.
SET LOCAL ROLE spendlock_owner;

INSERT INTO copilot_internal.model_prices (
  price_version, provider, model, effective_from,
  input_usd_per_mtok, output_usd_per_mtok, cache_read_usd_per_mtok, cache_write_5m_usd_per_mtok,
  long_context_threshold_tokens, long_context_input_usd_per_mtok, long_context_output_usd_per_mtok,
  long_context_cache_read_usd_per_mtok, long_context_cache_write_5m_usd_per_mtok, multipliers, notes, source, source_date)
SELECT 'openai/' || model || '@' || day, 'openai', model, day::timestamp AT TIME ZONE 'UTC',
  input, output, cache_read, cache_write, 272000, long_input, long_output, long_cache_read, long_cache_write, '{}', '',
  'https://developers.openai.com/api/docs/pricing', source_date
FROM (VALUES
  ('gpt-6-astra', date '2026-09-03', 10, 50, 1, 12.50, 20, 75, 2, 25, date '2026-09-05'),
  ('gpt-6.1-sol', date '2026-09-29', 2, 10, 0.10, 2.50, 4, 15, 0.20, 5, date '2026-09-30'),
  ('gpt-6.1-terra', date '2026-10-26', 1, 5, 0.05, 1.25, 2, 7.50, 0.10, 2.50, date '2026-10-27'),
  ('gpt-6.2-astra', date '2026-11-17', 8, 40, 0.40, 10, 16, 60, 0.80, 20, date '2026-11-18'),
  ('gpt-6.2-sol', date '2026-11-17', 2, 10, 0.10, 2.50, 4, 15, 0.20, 5, date '2026-11-18')
) AS newer (model, day, input, output, cache_read, cache_write, long_input, long_output, long_cache_read, long_cache_write, source_date)
WHERE NOT EXISTS (SELECT FROM copilot_internal.model_prices AS known WHERE known.model = newer.model);

INSERT INTO copilot_internal.model_prices (
  price_version, provider, model, effective_from,
  input_usd_per_mtok, output_usd_per_mtok, cache_read_usd_per_mtok, multipliers, notes, source, source_date)
SELECT 'google/' || model || '@' || day, 'google', model, day::timestamp AT TIME ZONE 'UTC', input, output, cache_read, '{}',
  notes || 'Text, image and video input; audio input has no rate here.', 'https://ai.google.dev/gemini-api/docs/pricing', source_date
FROM (VALUES
  ('gemini-3.8-flash', date '2026-09-02', 0.75, 3.75, 0.075, 'Introductory rates until 2026-12-31. ', date '2026-09-30'),
  ('gemini-3.8-flash', date '2027-01-01', 1.50, 7.50, 0.15, 'Announced. ', date '2026-09-30'),
  ('gemini-4-argon', date '2026-10-13', 2, 10, 0.10, 'Introductory rates until 2026-11-30. ', date '2026-11-16'),
  ('gemini-4-argon', date '2026-12-01', 4, 20, 0.20, 'Announced. ', date '2026-11-16'),
  ('gemini-4-carbon', date '2026-11-10', 2, 10, 0.10, 'Introductory rates until 2026-11-30. ', date '2026-11-16'),
  ('gemini-4-carbon', date '2026-12-01', 4, 20, 0.20, 'Announced. ', date '2026-11-16'),
  ('gemini-4-hydrogen', date '2026-11-12', 1.50, 7.50, 0.075, '', date '2026-11-16'),
  ('gemini-4-neon', date '2026-11-18', 3, 15, 0.15, '', date '2026-11-19')
) AS newer (model, day, input, output, cache_read, notes, source_date)
WHERE NOT EXISTS (SELECT FROM copilot_internal.model_prices AS known WHERE known.model = newer.model);

RESET ROLE;
