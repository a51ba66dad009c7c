/** The budget activities as workflows see them: types only. */
import type { MoneyAnswerSignal } from '../core/inputs/read-signals';
import type { Labels } from '../core/labels';
import type {
  BindingQuota,
  BudgetCommand,
  MandateState,
  QuotaState,
  RejectionCode,
  ReplyAddress,
  ReserveAnswer,
  ReserveCommand,
  Resource,
  RunLimitRef,
} from '../core/budget/commands';

/** A reserve as the workflow fixes it; the activity adds where the answer goes. */
export interface ReserveRequest extends Omit<ReserveCommand, 'type' | 'replyTo' | 'traceContext'> {
  tenantId: string;
}

export interface OperationRef {
  tenantId: string;
  operationId: string;
}

/** What an attempt came to whose activity did not say so itself. */
export interface AttemptEnd {
  /** The call was made and its result is kept: the step can go on with it. */
  outcome: 'billed' | 'not_billed' | 'unknown' | 'not_called';
  /** What it cost; absent where nobody knows. Decimal string. */
  costUsd?: string;
  result?: unknown;
}

/** What a denied step waits for. */
export interface WaitForMoney {
  tenantId: string;
  /** The first operation that was denied: it keeps its place in the line under it. */
  waiterId: string;
  workflowId: string;
  runId?: string;
  userId?: string;
  resource: Resource;
  /** A tool, as in its reserve. */
  isTool?: true;
  labels?: Labels;
  /** The least that it can use. Decimal string. */
  neededUsd: string;
  /** What it asks for in full, where it rather waits for that. Decimal string. */
  wantedUsd?: string;
  /** It names its place when it asks again, so that something can be kept for it. Steps of the version before do not. */
  isNamed?: true;
  quota: BindingQuota;
  retryAfterSeconds?: number;
  /** People are asked for what is lacking. */
  asks?: AskForMoney;
}

/** What people are told of a step that asks them for money. */
export interface AskForMoney {
  /** The operation that was denied last. */
  operationId: string;
  /** How long an answer is waited for. */
  days: number;
  /** The kind of the step, and all that it asks for. */
  kind: string;
  amountUsd: string;
  /** Answers that came by signal, with what they decide. */
  answers?: MoneyAnswerSignal[];
}

/** A denied step's place in the line; and how what it asks of people stands. */
export interface Awaited {
  /** How long after the moment that it waits for is its turn. */
  afterMs: number;
  /** The answers that came by signal were looked at; a worker of the version before does not say so. */
  isHeard?: true;
  /** Somebody granted it money: it asks again at once. */
  isGranted?: true;
  /** Nobody will: why, as a sentence. */
  refusal?: string;
  /** How long an answer is waited for. */
  answerWithinMs?: number;
  /** What of the answers that came by signal was not taken, in words. */
  notTaken?: string;
}

/** An open envelope that a run has. Decimal string. */
export interface OpenEnvelope {
  operationId: string;
  restUsd: string;
}

/** Runs on the runs queue. */
export interface BudgetActivities {
  /** Looks for what a run holds for its steps since an execution before a reset; `open` is absent where there is none. */
  findEnvelope(run: { tenantId: string; runId: string }): Promise<{ open?: OpenEnvelope }>;
  /**
   * Asks the tenant's authority for money and waits a moment for the answer; null when there is none yet. As a local
   * activity it costs the run no task of its own.
   */
  reserveQuickly(request: ReserveRequest): Promise<ReserveAnswer | null>;
  /** Asks the tenant's authority for money. Stays open, without holding a worker, until the authority answers. */
  reserve(request: ReserveRequest): Promise<ReserveAnswer>;
  /** Lets a step go on without a grant, as its policy says when the authority does not answer. On record either way. */
  allowUnreserved(request: ReserveRequest): Promise<ReserveAnswer>;
  /**
   * Ends an attempt that its activity left open (lost, timed out, cancelled), and tells what became of it. Returns once
   * Temporal has accepted the command.
   */
  commit(operation: OperationRef): Promise<AttemptEnd>;
  /** Puts a run's limit on record before anything is asked for: why it cannot be as asked, or whether there is one. */
  openRunLimit(request: {
    tenantId: string;
    runLimit: RunLimitRef;
  }): Promise<{ refusal: { code: RejectionCode; message: string } } | { isOnRecord: boolean }>;
  /** Gives up a reserve that the caller no longer waits for. */
  release(operation: OperationRef): Promise<void>;
  /**
   * A denied step waits from now on: it is on record, and its authority wakes it when there may be money. Those that wait
   * for the same moment ask in their order: answers how long after it is this one's turn; a worker of the version before answers nothing.
   */
  awaitMoney(request: WaitForMoney): Promise<Awaited | null>;
  /** The wait is over, or was given up. */
  endWaiting(request: { tenantId: string; waiterId: string; runId?: string }): Promise<void>;
  /** Reads back that each operation has ended, and tells the authority again until it has. */
  confirmSettled(request: { tenantId: string; operationIds: string[] }): Promise<void>;
  /** The same as a local activity, and without a second look: which have not ended. */
  settleQuickly(request: { tenantId: string; operationIds: string[] }): Promise<string[]>;
}

export interface DecideRequest {
  tenantId: string;
  commands: BudgetCommand[];
  /** The authority continues as new after this batch: callers nearby hold their signals back for a moment. */
  continuing?: boolean;
  /** Whoever asks has the rest decided next when there is no time for all. */
  mayLeaveRest?: true;
}

/** What a decision tells its authority. The answers went to the callers already. */
export interface DecideResult {
  quotas: QuotaState[];
  /** When the next reservation runs out, by Postgres' clock. */
  nextWakeUpMs?: number;
  /** Alerts for the authority to have sent. Always 0 now; histories have others. */
  alertsDue: number;
  durationMs: number;
  /** Reserves that were not decided, since they wait for money from the platform, and what they need. */
  waiting?: { operationIds: string[]; needs: LeaseNeedText[] };
  /** The last so many commands were not decided: there was no time for them. */
  undecided?: number;
  /** Something of the tenant's leases is idle, for the authority to give back when it has nothing to do. */
  idleLease?: true;
  /** Denied steps wait for money of this tenant. */
  moneyWaiters?: true;
  /** The tenant's mandate, and the account of what was decided under it and those before it: so the history has all of it. */
  mandate?: MandateState;
}

/** What a lease must have free; the amount is a decimal string. */
export interface LeaseNeedText {
  quotaId: string;
  neededUsd: string;
}

/** A command that an authority could neither decide nor hand over. */
export interface LeftCommand {
  type: BudgetCommand['type'];
  operationId?: string;
  replyTo?: ReplyAddress;
}

/** Runs on the budget queue. */
export interface AuthorityActivities {
  decideBatch(request: DecideRequest): Promise<DecideResult>;
  /** Draws from the platform's quotas what a tenant's leases lack. What comes of it is in Postgres. */
  drawLease(request: { tenantId: string; needs: LeaseNeedText[] }): Promise<void>;
  /** Gives back to the platform what is idle of a tenant's leases. */
  returnLeases(request: { tenantId: string }): Promise<void>;
  /** Tells whoever waits for an answer that there will be none, and says what was left behind in the log and the metrics. */
  leaveBehind(request: { tenantId: string; commands: LeftCommand[] }): Promise<void>;
  /** Does nothing: what follows it runs in a workflow task of its own. */
  nextTask(): Promise<void>;
  /**
   * Wakes the denied steps that wait and that would fit now, in the order in which they began to wait; `afterMs` milliseconds later, for what is
   * freed meanwhile, which versions before do not know.
   */
  wakeWaiters(request: { tenantId: string; afterMs?: number }): Promise<void>;
  /** Says that a tenant's decisions raised alerts. Only authorities of the version before ask for it. */
  sendAlerts(request: { tenantId: string }): Promise<void>;
}

/** How many were seen to, of what. */
export interface UpkeepCounts {
  woken: number;
  lost: number;
  rung: number;
  told: number;
}

/** Runs on the budget queue, once a minute. */
export interface UpkeepActivities {
  /** All of the following, side by side. One that fails does not keep the others; then all are done again. */
  lookAround(): Promise<UpkeepCounts>;
  /**
   * Wakes the authority of each tenant that has something overdue, raises the platform's alerts, and gives back what ended runs left held. Answers how many
   * tenants were woken.
   */
  wakeSleepers(): Promise<number>;
  /** Ends the record of runs that have no workflow any more, or never had one. Answers how many. */
  endLostRuns(): Promise<number>;
  /** Tells conversations of messages that wait although nobody told them. Answers how many. */
  ringConversations(): Promise<number>;
  /** Tells workflows of decisions of people that nobody told them of. Answers how many decisions. */
  tellDecisions(): Promise<number>;
}
