-- Who calls the API, which of their requests were answered, and what operators changed.
SET LOCAL ROLE spendlock_owner;

-- Keys are 256 random bits; only their SHA-256 is kept. Without a tenant a key administers the installation. A key may end at a
-- moment to come, so that a new one can be rolled out before the old one is refused.
CREATE TABLE copilot_internal.api_keys (
  api_key_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  key_hash bytea NOT NULL UNIQUE CHECK (length(key_hash) = 32),
  tenant_id text REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  label text NOT NULL DEFAULT '',
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  revoked_at timestamptz
);

-- The first answer to a POST with an Idempotency-Key; a repeat of the same request gets it again. It counts for a tenant (or for the
-- administration), not for the one key that it was first sent with. Rows that an older version wrote have no seed and count for
-- their key.
CREATE TABLE copilot_internal.idempotent_requests (
  api_key_id uuid NOT NULL REFERENCES copilot_internal.api_keys ON DELETE CASCADE,
  idempotency_key text NOT NULL CHECK (length(idempotency_key) BETWEEN 1 AND 255),
  request_hash bytea NOT NULL,
  response_status integer,
  response_body jsonb,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  tenant_id text,
  seed uuid,
  PRIMARY KEY (api_key_id, idempotency_key)
);
CREATE UNIQUE INDEX idempotent_requests_once ON copilot_internal.idempotent_requests (tenant_id, idempotency_key)
  NULLS NOT DISTINCT WHERE seed IS NOT NULL;
CREATE INDEX idempotent_requests_by_age ON copilot_internal.idempotent_requests (created_at);

-- What operators changed, by whom and when.
CREATE TABLE copilot_internal.audit_entries (
  audit_entry_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id text REFERENCES copilot_internal.tenants ON DELETE CASCADE,
  api_key_id uuid,
  action text NOT NULL,
  details jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  author text
);

RESET ROLE;
