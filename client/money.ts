/** What is asked for a paid call, granted, and told of it. */
import type { Labels } from '../core/labels';

/** Money that a call outside Temporal asks for. Amounts are decimal strings of US dollars. */
export interface ReserveMoney {
  /** `llm`, `e2b`, or another by name, such as `geocoding`: what limits of that resource bind. */
  resource: string;
  amountUsd: string;
  /** The least of use: when less than all is left, that is granted. */
  minimumUsd?: string;
  ttlSeconds?: number;
  /** What running out without a word means: nothing was billed, or the amount is charged as unverified. */
  onExpiry?: 'release' | 'settle';
  tenantId?: string;
  userId?: string;
  /** The run that the call belongs to, whose limit binds it too. */
  runId?: string;
  kind?: string;
  model?: string;
  /** The version of the price that the amount comes from, for the ledger. */
  priceVersion?: string;
  /** What its cost is for: at most eight, such as `{ team: 'search' }`. */
  labels?: Labels;
  /** Made up when absent. Asking again under the same id gets the same answer; it is of one call, and keeps nobody from making another. */
  operationId?: string;
  /** The amount is for what is to come: it is spent in parts, which name its operation id as `parentOperationId`. */
  envelope?: boolean;
  /** With `envelope`: what its parts may be, beside its `resource`. */
  resources?: string[];
  /** The envelope that it is a part of, of the same user and labels, and of its `runId` where it names one. @throws SpendlockApiError `envelope_exceeded` beyond its rest. */
  parentOperationId?: string;
  /** What that has no room for is asked of the limits. */
  orBeyond?: boolean;
}

export interface MoneyGrant {
  operationId: string;
  decision: 'granted';
  grantedUsd: string;
  partial: boolean;
  /** Absent when there is no reservation that could run out. */
  expiresAt?: string;
  /** The envelope that it came from. */
  parentOperationId?: string;
  /** Let through without a grant, by the tenant's policy. */
  unreserved?: true;
}

/** What a call cost. */
export interface MoneySpent {
  costUsd: string;
  usage?: unknown;
  tenantId?: string;
  /** Of whoever claimed the reservation. */
  claimToken?: string;
  /**
   * That it was billed so, where it is above $1 and at least 100 times what was granted, which is refused otherwise
   * (`cost_unconfirmed`). With a key of an operator or of the administration only, whose word needs no `claimToken`.
   */
  confirm?: boolean;
  /** Why it is confirmed, which `confirm` needs, and by whom, for the audit. With `confirm` only. */
  reason?: string;
  author?: string;
  /**
   * What the call was, and would have reserved, when it was made without a reservation. Taken from tenants whose policy is
   * `allow`.
   */
  unreserved?: Pick<ReserveMoney, 'resource' | 'userId' | 'runId' | 'kind' | 'model' | 'labels'> & {
    amountUsd?: string;
  };
}
