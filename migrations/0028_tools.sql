-- Tools of a tenant's own: addresses and MCP servers that its runs may call (docs/decisions/0064).
SET LOCAL ROLE spendlock_owner;

CREATE TABLE IF NOT EXISTS copilot_internal.tools (
  tenant_id text NOT NULL REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  name text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('http', 'mcp')),
  url text NOT NULL,
  method text NOT NULL CHECK (method IN ('GET', 'POST')),
  -- What a model is shown: [{name, description, inputSchema}]. As text: the order of a schema's fields is one that models follow.
  shown text NOT NULL,
  requires_approval boolean NOT NULL,
  price_usd numeric(38, 12) CHECK (price_usd > 0),
  timeout_seconds integer NOT NULL CHECK (timeout_seconds BETWEEN 1 AND 120),
  result_bytes_max integer NOT NULL CHECK (result_bytes_max BETWEEN 1 AND 1000000),
  -- A header of each call, and its value as it is sealed by a key of the environment.
  credential_header text,
  sealed_credential text,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant_id, name),
  CHECK ((credential_header IS NULL) = (sealed_credential IS NULL))
);

DO $security$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_policies WHERE schemaname = 'copilot_internal' AND tablename = 'tools') THEN
    ALTER TABLE copilot_internal.tools ENABLE ROW LEVEL SECURITY;
    ALTER TABLE copilot_internal.tools FORCE ROW LEVEL SECURITY;
    CREATE POLICY owner_sees_all ON copilot_internal.tools TO spendlock_owner USING (true);
    CREATE POLICY one_tenant ON copilot_internal.tools TO spendlock_app
      USING (tenant_id = current_setting('spendlock.tenant_id', true));
  END IF;
END
$security$;
GRANT SELECT, INSERT, UPDATE, DELETE ON copilot_internal.tools TO spendlock_app;

RESET ROLE;
