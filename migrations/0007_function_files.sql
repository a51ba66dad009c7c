-- Which text of each file in functions/ this database has, so that those that changed are applied, and by which version of Spendlock, so
-- that an older one leaves what a newer one wrote (docs/decisions/0033).
SET LOCAL ROLE spendlock_owner;

CREATE TABLE copilot_internal.schema_functions (
  -- The file's, without its ending.
  name text PRIMARY KEY,
  -- SHA-256 of its text, in hexadecimal digits.
  checksum text NOT NULL,
  spendlock_version text NOT NULL,
  applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT SELECT ON copilot_internal.schema_functions TO spendlock_app;

RESET ROLE;
