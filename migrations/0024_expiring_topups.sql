-- Top-ups that expire by themselves (docs/decisions/0060): what is left of each stands in its quota's row, where a decision reads it already.
-- topup_usd is all that the limit is topped up by, as before. The table's lock is held for as long as it takes to note the columns.
SET LOCAL ROLE spendlock_owner;

ALTER TABLE copilot_internal.cost_quotas
  -- What of topup_usd is spent or held of top-ups that have expired in this period.
  ADD COLUMN IF NOT EXISTS topup_kept_usd numeric(38, 12) NOT NULL DEFAULT 0,
  -- What of topup_usd expires by itself: [{amountUsd, expiresAt}], the first to expire first; null where nothing does.
  ADD COLUMN IF NOT EXISTS expiring_topups jsonb,
  -- When the first of them expires.
  ADD COLUMN IF NOT EXISTS topup_expires_at timestamptz;
ALTER TABLE copilot_internal.cost_quotas DROP CONSTRAINT IF EXISTS cost_quotas_topups_check;
ALTER TABLE copilot_internal.cost_quotas ADD CONSTRAINT cost_quotas_topups_check
  CHECK (topup_kept_usd >= 0 AND topup_kept_usd <= topup_usd AND (expiring_topups IS NULL) = (topup_expires_at IS NULL)) NOT VALID;

RESET ROLE;
