/** What people are told of a quota. */
import type { Usd } from '../money';
import type { Quota } from './quotas';

export interface QuotaAlert {
  kind: 'quota_warning' | 'quota_exceeded' | 'overrun';
  quota: Quota;
  /** The threshold that a warning is about. */
  thresholdBasisPoints?: number | undefined;
  /** What was asked for when the quota refused. */
  estimatedUsd?: Usd | undefined;
  /** The call that cost more than was granted. */
  overrun?: Overrun | undefined;
}

/** A call that cost more than its grant: no grant passes a limit, what a provider bills may. */
export interface Overrun {
  operationId: string;
  grantedUsd: Usd;
  costUsd: Usd;
}
