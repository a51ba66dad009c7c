/** What the plugin asks of a budget, whichever way it is reached: over HTTP, or by Postgres and signals. */
import type { Resource } from '../../core/budget/commands';
import type { Labels } from '../../core/labels';
import type { Usd } from '../../core/money';
import type { ModelPrice } from '../../core/prices/prices';

/** Whose call it is, and what it is for. */
export interface SpendScope {
  /** Whose budget pays. Of a key that is one tenant's alone it is that tenant. */
  tenantId?: string;
  userId?: string;
  /** The run of Spendlock's that it belongs to: its limit binds the call too. */
  runId?: string;
  /** At most eight, such as `{ team: 'search' }`. */
  labels?: Labels;
}

/** Money for one attempt of one activity. */
export interface AskedHold {
  operationId: string;
  scope: SpendScope;
  amountUsd: Usd;
  resource: Resource;
  kind: string;
  model?: string | undefined;
  priceVersion?: string | undefined;
}

/** A claimed reservation: the right to make one call, and the duty to say what became of it. */
export interface HeldMoney extends AskedHold {
  grantedUsd: Usd;
  claimToken?: string | undefined;
  /** Let through by the tenant's policy, since nobody answered. */
  isUnreserved?: boolean;
}

/** What became of a call. */
export type CallOutcome =
  | { billed: 'no' }
  | { billed: 'known'; costUsd: Usd; usage?: unknown }
  /** Nobody can say what it cost: at least what is known. */
  | { billed: 'unknown'; knownUsd: Usd; usage?: unknown; reason: string };

export interface CallMoney {
  /** The prices of models that are in force. */
  prices(): Promise<readonly ModelPrice[]>;
  /**
   * Reserves and claims.
   * @throws ApplicationFailure that says why no call may be made.
   */
  hold(asked: AskedHold): Promise<HeldMoney>;
  /** Keeps a hold while its call goes on. */
  extend(held: HeldMoney): Promise<void>;
  /**
   * Puts on record what became of a call, and where that can be kept what it answered. It may be told again.
   * @throws what the record refuses.
   */
  settle(held: HeldMoney, outcome: CallOutcome, result?: unknown): Promise<void>;
  /**
   * What the latest of the attempts before bought, where that is kept: its worker died before Temporal heard of it.
   * @param operationIds theirs, the latest first.
   */
  bought?(operationIds: readonly string[], scope: SpendScope): Promise<{ result: unknown } | undefined>;
  /** Whether the same may be taken later: nobody answered. */
  mayPass(error: unknown): boolean;
  /** Resolves once what was held for calls that are not made is given back, or after a moment. It rejects nothing. */
  givenBack?(): Promise<void>;
}

/** Kept in the place of an answer of nothing, which is one too; what has no answer keeps none. */
export const emptyAnswer = { spendlock: 'answered with nothing' };

export const isEmptyAnswer = (kept: unknown): boolean => JSON.stringify(kept) === JSON.stringify(emptyAnswer);

/** How long Postgres holds money between two words of a call: as long as a worker of Spendlock's own does. */
export const postgresHoldSeconds = 180;
