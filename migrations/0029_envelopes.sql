-- Envelopes: money that is reserved once and spent in parts (docs/decisions/0065). The lock of the reservations is held for as long as it
-- takes to note the columns. They are null of all else: most rows keep nothing more.
SET LOCAL ROLE spendlock_owner;
ALTER TABLE copilot_internal.reservations
  -- Of a part: its envelope.
  ADD COLUMN IF NOT EXISTS parent_id uuid,
  -- Of an envelope and its parts: the resources whose limits hold the money, its own among them. A cost counts for its own alone.
  ADD COLUMN IF NOT EXISTS held_on text[],
  -- Of an envelope that was granted: how much, at first. Its granted_usd is its rest, which its parts take from and give back to.
  ADD COLUMN IF NOT EXISTS envelope_usd numeric(38, 12),
  -- Of a part that has ended: what of its grant went back to its envelope; negative where its cost took more from there.
  ADD COLUMN IF NOT EXISTS returned_usd numeric(38, 12);
RESET ROLE;
