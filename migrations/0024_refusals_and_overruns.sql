-- Up Migration
-- What operators look for: who was refused, by a quota or because the payer was frozen, and calls that cost more than was granted.
SET LOCAL ROLE spendlock_owner;

CREATE INDEX reservations_refused ON copilot_internal.reservations (tenant_id, decided_at DESC)
  WHERE status IN ('denied', 'rejected');
DROP INDEX copilot_internal.reservations_denied;

ALTER TABLE copilot_internal.quota_alerts DROP CONSTRAINT quota_alerts_kind_check;
ALTER TABLE copilot_internal.quota_alerts ADD CONSTRAINT quota_alerts_kind_check
  CHECK (kind IN ('quota_warning', 'quota_exceeded', 'overrun'));

RESET ROLE;
