/**
 * What callers ask of a tenant's budget authority, and what it answers, as they travel: plain JSON with money as decimal
 * strings. Every command names its operation and is idempotent on it.
 */

import type { Labels } from '../labels';
import type { Period } from './periods';

/** What a paid step is billed as: `llm`, `e2b`, or another by name, such as `geocoding` (core/resources.ts). */
export type Resource = string;

/** Whether limits bind: those of sandboxes, and those of all else. */
export type Enforced = Readonly<Record<'llm' | 'e2b', boolean>>;

/** Where the answer to a reserve goes: the activity that stays open for it, or the process that listens on a channel. */
export type ReplyAddress =
  | { workflowId: string; runId: string; activityId: string }
  /** `waiter` tells apart who waits there. */
  | { channel: string; waiter: number };

/**
 * What becomes of a reservation whose time runs out with nothing known of its call: nothing is charged, or its grant is,
 * as `unverified`. Unless it says so itself, an unclaimed one is released and a claimed one settled.
 */
export type OnExpiry = 'release' | 'settle';

/** W3C trace context of the caller, so that one trace leads through the authority; and `workflowId`, where a workflow asks that is no run. */
export type TraceContext = Record<string, string>;

/** The limit of a run that a reserve counts for, beside those of what the run belongs to. */
export interface RunLimitRef {
  /** A run, a turn of a conversation, or the first execution of a workflow of one's own. */
  id: string;
  /** What it may cost. The first that comes with its id stands; another is refused. Decimal string. */
  limitUsd?: string;
  /** The run that it belongs to: one with a limit, or that belongs to one, that goes on. It never changes. */
  parentId?: string;
}

/**
 * Asks for money. Tenant, user, resource, amount, minimum, price version, sent labels and envelope are what make two requests the same.
 */
export interface ReserveCommand {
  type: 'reserve';
  operationId: string;
  userId?: string;
  resource: Resource;
  /** A tool, which the version before knows as what `resource` says. */
  isTool?: true;
  /** Of an envelope, or of a part that is for that alone: its resource. `resource` is `all` then, which a process of the version before refuses. */
  ofResource?: Resource;
  /** An envelope (docs/decisions/0065-envelopes.md): money for parts to come, of these resources, its own among them. */
  envelopeOf?: readonly Resource[];
  /** The envelope that it is a part of: its money comes from there. */
  parentOperationId?: string;
  /** A part asks the limits, as if it named no envelope, for what that has no room for. */
  orBeyond?: boolean;
  /** How long its envelope lasts at least from a part's grant on; for who reserves one for as long as it goes on. */
  parentTtlSeconds?: number;
  amountUsd: string;
  /** The least that is of use: when the full amount does not fit and this does, the grant is what is left. */
  minimumUsd?: string;
  /** It rather waits than takes less than what may still come back: then it is denied. */
  prefersWhole?: boolean;
  /** Its place in the line of those that wait for money: what is kept for that is for it. */
  waiterId?: string;
  priceVersion: string;
  /** How long the grant holds, from the decision. */
  ttlSeconds: number;
  onExpiry?: OnExpiry;
  /** What its cost was for: those that hold, inherited ones among them. */
  labels?: Labels;
  /** Of them those that its caller sent, where they are others; by these two requests are told apart. */
  sentLabels?: Labels;
  /** For people and reports; no part of the request's identity. */
  runId?: string;
  kind: string;
  step?: number;
  attempt?: number;
  model?: string;
  replyTo?: ReplyAddress;
  traceContext?: TraceContext;
  /**
   * Whose callers are told the answer, where they may go away without it; no part of the request's identity. Another that asks for the
   * same is told of the same grant, which the first can then not give back.
   */
  asker?: string;
  /** Decided with the quotas; no part of the request's identity. */
  runLimit?: RunLimitRef;
}

/**
 * Ends a reservation by its outcome: the actual cost; nothing when it surely was not billed or never claimed; and the
 * estimate, as `unverified`, when it was claimed and nobody knows.
 */
export interface CommitCommand {
  type: 'commit';
  operationId: string;
  traceContext?: TraceContext;
}

/** Gives a reservation up. A claimed one waits for its outcome; an unknown one leaves a tombstone that refuses a late reserve. */
export interface ReleaseCommand {
  type: 'release';
  operationId: string;
  /** The asker whose callers have all gone: its grant is given back unless somebody else was told of it. */
  asker?: string;
  traceContext?: TraceContext;
}

/** Look at what Postgres holds: quotas were changed, or outcomes written. */
export interface ReloadCommand {
  type: 'reload';
}

export type BudgetCommand = ReserveCommand | CommitCommand | ReleaseCommand | ReloadCommand;

/** A tenant's mandate, and what was decided under all that it had. */
export interface MandateState {
  /** By Postgres' clock; absent while only the authority decides. */
  openUntilMs?: number;
  /** Recalled, and not allowed again. */
  barred: boolean;
  granted: number;
  denied: number;
  /** Decimal string. */
  grantedUsd: string;
}

/** How a quota stands. Amounts are decimal strings. */
export interface QuotaState {
  scope: 'platform' | 'tenant' | 'user' | 'label';
  scopeId: string;
  /** A resource, or `all`. */
  resourceType: string;
  period: Period;
  limitUsd: string;
  spentUsd: string;
  reservedUsd: string;
  remainingUsd: string;
  resetsAt: string;
}

/** The quota that stood in the way. */
export interface BindingQuota extends QuotaState {
  /** What was asked for. */
  estimatedUsd: string;
}

export type RejectionCode =
  | 'operation_conflict'
  | 'operation_released'
  | 'invalid_amount'
  | 'invalid_request'
  | 'unknown_tenant'
  | 'quota_missing'
  | 'budget_frozen'
  | 'run_limit_exceeded'
  | 'run_limit_conflict'
  | 'run_parent_refused'
  | 'envelope_exceeded'
  | 'envelope_refused'
  | 'command_failed'
  | 'authority_unavailable';

/** The answer to a reserve. It is given only after Postgres holds it, and a repeat gets the same one. */
export type ReserveAnswer =
  | {
      decision: 'granted';
      operationId: string;
      grantedUsd: string;
      partial: boolean;
      expiresAt: string;
      /** Allowed without a grant, by policy. */
      unreserved?: true;
      /** It counts for a run's limit in the books, so that nobody else need count it. */
      countsForRun?: true;
      /** Its money came from this envelope. */
      parentOperationId?: string;
    }
  | {
      decision: 'denied';
      operationId: string;
      quota: BindingQuota;
      /** What it would have been billed as, where that is not what was asked. */
      billedAs?: Resource;
      retryAfterSeconds?: number;
      message: string;
    }
  | {
      decision: 'rejected';
      operationId: string;
      code: RejectionCode;
      message: string;
      /** When the same may fit: where only what is held of a run's limit stands in its way. */
      retryAfterSeconds?: number;
      /** What the limits of its run would leave then if nothing of them were held. Decimal string. */
      leftWithoutHoldsUsd?: string;
    };

export type Rejection = Extract<ReserveAnswer, { decision: 'rejected' }>;
