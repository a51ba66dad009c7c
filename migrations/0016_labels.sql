-- What costs are for (docs/decisions/0053), beside their user and run: an object of at most eight texts, null for none. Of a reservation also
-- what its caller sent itself, where that is something else. What a process of the version before decided has {}: it knew of none. The
-- locks of these tables are held for as long as it takes to note the columns.
SET LOCAL ROLE spendlock_owner;

ALTER TABLE copilot_internal.reservations
  ADD COLUMN IF NOT EXISTS labels jsonb,
  ADD COLUMN IF NOT EXISTS sent_labels jsonb;
ALTER TABLE copilot_internal.cost_records ADD COLUMN IF NOT EXISTS labels jsonb;
-- Those of all that a run spends, and of what is started and reserved with a key.
ALTER TABLE copilot_internal.runs ADD COLUMN IF NOT EXISTS labels jsonb;
ALTER TABLE copilot_internal.api_keys ADD COLUMN IF NOT EXISTS labels jsonb;

RESET ROLE;
