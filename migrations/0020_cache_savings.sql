-- What caches of prompts saved, by day beside what was spent (docs/decisions/0058). The ledger has it in the usage of each call, where what
-- is on record already says nothing of it.
SET LOCAL ROLE spendlock_owner;

ALTER TABLE copilot_internal.daily_costs ADD COLUMN IF NOT EXISTS cache_saved_usd numeric(38, 12) NOT NULL DEFAULT 0;
ALTER TABLE copilot_internal.daily_label_costs ADD COLUMN IF NOT EXISTS cache_saved_usd numeric(38, 12) NOT NULL DEFAULT 0;

-- It answers one column more: a function cannot be replaced by one of another shape.
DROP FUNCTION IF EXISTS copilot_internal.label_sums_wrong(text, date[]);

RESET ROLE;
