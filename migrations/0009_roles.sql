-- What a key may do, and by which key an approval was decided.
SET LOCAL ROLE spendlock_owner;

-- Of a tenant. Without a role: a key from before there were any, which keeps what it could do, or one of the administration.
ALTER TABLE copilot_internal.api_keys
  ADD COLUMN IF NOT EXISTS role text CHECK (role IN ('operator', 'agent', 'reader'))
    CONSTRAINT api_keys_role_of_tenant CHECK (role IS NULL OR tenant_id IS NOT NULL);

-- Empty where a signal from Temporal's UI decided, or a version before this one.
ALTER TABLE copilot_internal.approvals
  ADD COLUMN IF NOT EXISTS decided_by_key uuid,
  ADD COLUMN IF NOT EXISTS decided_by_role text;

-- Processes of the version before ask find_api_key; a new database does not have it.
DROP FUNCTION IF EXISTS copilot_internal.authenticate_api_key(bytea);

RESET ROLE;
