-- What goes on without a grant may spend so much, and is charged so much where nobody learns what it cost. Null where something was
-- decided, and where a process of the version before let it through. The table's lock is held for as long as it takes to note the column.
SET LOCAL ROLE spendlock_owner;

ALTER TABLE copilot_internal.reservations ADD COLUMN IF NOT EXISTS allowed_usd numeric(38, 12);

RESET ROLE;
