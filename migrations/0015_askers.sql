-- Who was told of a grant over HTTP (docs/decisions/0052): whoever asked, or * once somebody else who asked for the same was told too. Null where
-- a workflow asked, or a process of the version before. The lock of the reservations is held for as long as it takes to note the column.
SET LOCAL ROLE spendlock_owner;

ALTER TABLE copilot_internal.reservations ADD COLUMN IF NOT EXISTS asker text;

RESET ROLE;
