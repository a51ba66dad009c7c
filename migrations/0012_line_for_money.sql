-- Steps that wait for money stand in a line: what one was woken for, or has to gather, is kept for it for a while, also from those who come
-- later. Processes of the version before leave the columns out: nothing is kept for who does not say, when it asks again, which place
-- it has. The table's lock is held for as long as it takes to note the columns.
SET LOCAL ROLE spendlock_owner;

ALTER TABLE copilot_internal.money_waiters
  -- What it asks for in full. Null where it takes the least.
  ADD COLUMN IF NOT EXISTS wanted_usd numeric(38, 12) CHECK (wanted_usd >= needed_usd),
  -- Whether it names its place when it asks again.
  ADD COLUMN IF NOT EXISTS is_named boolean NOT NULL DEFAULT false,
  -- What is kept for it, and until when.
  ADD COLUMN IF NOT EXISTS kept_usd numeric(38, 12) CHECK (kept_usd >= 0),
  ADD COLUMN IF NOT EXISTS kept_until timestamptz;

-- Each decision looks for them.
CREATE INDEX IF NOT EXISTS money_waiters_kept ON copilot_internal.money_waiters (tenant_id) WHERE kept_until IS NOT NULL;

RESET ROLE;
