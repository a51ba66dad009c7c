-- Conversations have titles. A row without one is shown by the beginning of its first message, so nothing has to be filled in. Processes
-- of the version before name their columns and leave this one out. The table's lock is held for as long as it takes to note the column.
SET LOCAL ROLE spendlock_owner;

ALTER TABLE copilot_internal.runs
  -- What people call a conversation. Null where nobody gave it one, and once its transcript is forgotten: it may quote it.
  ADD COLUMN IF NOT EXISTS title text CHECK (length(title) BETWEEN 1 AND 200);

RESET ROLE;
