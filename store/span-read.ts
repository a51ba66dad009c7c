/** How a span of a tenant's record is read: in one snapshot, holding no lock, within its time. */
import type { TransactionOptions } from './pool';

/** So long one reading of a span may take in all: what is read meanwhile keeps Postgres from clearing away. */
export const spanWithinMs = 60_000;

/** What has been read may be worked on for as long, since nobody waits for a lock of it. */
export const spanRead = (withinMs: number): TransactionOptions => ({
  settings: {
    ...{ transaction_isolation: 'repeatable read', transaction_read_only: 'on' },
    idle_in_transaction_session_timeout: String(withinMs),
  },
  withinMs,
});
