/**
 * How to reach the workflows: their names, ids, inputs, signals and queries. Clients, workers and the workflows
 * themselves import it; it holds no behaviour.
 */
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type { BudgetCommand, MandateState, QuotaState, Resource } from '../core/budget/commands';
import type { Labels } from '../core/labels';
import type { ApprovalSignal, MoneyAnswerSignal } from '../core/inputs/read-signals';
import type { OpenSandbox, SandboxPlan } from './sandbox';

/** Which tenant a workflow works for. Search attributes are never encrypted: ids only, nothing personal. */
export const tenantIdAttribute = defineSearchAttributeKey('SpendlockTenantId', SearchAttributeType.KEYWORD);
/** For whom within the tenant, as its caller calls them. */
export const userIdAttribute = defineSearchAttributeKey('SpendlockUserId', SearchAttributeType.KEYWORD);
export const modelAttribute = defineSearchAttributeKey('SpendlockModel', SearchAttributeType.KEYWORD);
/** How a run stands or ended: running, waiting_for_money, completed, quota_exceeded, failed or cancelled. */
export const runStatusAttribute = defineSearchAttributeKey('SpendlockRunStatus', SearchAttributeType.KEYWORD);
/** What it has cost, as of its end or of its last turn. A number to search by; the ledger has the amount. */
export const costUsdAttribute = defineSearchAttributeKey('SpendlockCostUsd', SearchAttributeType.DOUBLE);
/** Whether a step was ever refused its money. */
export const deniedAttribute = defineSearchAttributeKey('SpendlockDenied', SearchAttributeType.BOOL);
/** Whether it holds money now: reserved and not yet settled. */
export const holdsMoneyAttribute = defineSearchAttributeKey('SpendlockHoldsMoney', SearchAttributeType.BOOL);
/** All of them, which a namespace has to know. */
export const searchAttributes = [
  tenantIdAttribute,
  userIdAttribute,
  modelAttribute,
  runStatusAttribute,
  costUsdAttribute,
  deniedAttribute,
  holdsMoneyAttribute,
];

/**
 * The queues of an installation. Those of paid calls of models are served by the workers of runs, with slots of their own, so that
 * what is done in milliseconds never waits behind what takes minutes: `calls` of runs, and `turns`, the calls that a person waits for.
 */
export const taskQueues = (prefix: string): Record<'runs' | 'calls' | 'turns' | 'budget' | 'sandbox', string> => ({
  runs: `${prefix}-runs`,
  calls: `${prefix}-calls`,
  turns: `${prefix}-turns`,
  budget: `${prefix}-budget`,
  sandbox: `${prefix}-sandbox`,
});

/** The queues beside the one that a workflow runs on. */
export const siblingQueues = (queue: string): ReturnType<typeof taskQueues> =>
  taskQueues(queue.replace(/-[a-z]+$/, ''));

/**
 * Who goes first where tasks wait for a worker: decisions, then what a person waits for, then tasks. Within each Temporal shares
 * its workers out by tenant, where the server is set up for that (`matching.enableFairness`); a server that knows neither ignores both.
 */
const priorityKeys = { tenantBudget: 1, conversation: 2, agentRun: 3 } as const;

/** As a workflow is started with; its activities have it too. */
export const priorityOf = (
  type: keyof typeof priorityKeys,
  tenantId: string,
): { priorityKey: number; fairnessKey: string } => ({ priorityKey: priorityKeys[type], fairnessKey: tenantId });

export const defaultTaskQueuePrefix = 'spendlock';

/** The authority of a tenant: one workflow, started by its first signal. */
export const budgetWorkflowId = (tenantId: string): string => `budget/${tenantId}`;
export const runWorkflowId = (runId: string): string => `run/${runId}`;

export interface TenantBudgetInput {
  tenantId: string;
  /** Commands that the execution before had not decided. */
  carried?: BudgetCommand[];
  /** What the execution before believed when it continued as new. */
  last?: BudgetState;
}

/** The one way to reach an authority: a list of commands, since signals of different names have no order. */
export const budgetCommandsSignal = defineSignal<[BudgetCommand[]]>('budgetCommands');

/** What an authority believes, as of its last decision. */
export interface BudgetState {
  tenantId: string;
  quotas: QuotaState[];
  /** Commands that wait for the next decision. */
  waiting: number;
  /** Decisions since this execution began. */
  batches: number;
  nextWakeUpAt?: string;
  /** Who may decide beside it, and what they decided. */
  mandate?: MandateState;
}
export const budgetStateQuery = defineQuery<BudgetState>('budgetState');

/** What a workflow has to know of a tool. */
export interface ToolRule {
  /** A person is asked before each use. */
  requiresApproval?: boolean;
  /** What each use costs, beside the sandbox. Decimal string. */
  priceUsd?: string;
}

/** What a run may do. Everything that it reads or says is in Postgres under its id, not here. */
export interface AgentRunInput {
  runId: string;
  tenantId: string;
  userId?: string;
  /** Of all that it spends: those of its key and its own. */
  labels?: Labels;
  model: string;
  /** Asked in this order when the model's provider cannot answer; each is reserved at its own price. */
  fallbackModels?: string[];
  /** Output tokens that one model call may ask for. */
  maxOutputTokens: number;
  /** Model calls that the run, or one turn of a conversation, may make. */
  maxSteps: number;
  /** Its own ceiling: a step that could lift the cost above it is not made, and the run or turn ends. Decimal string. */
  maxCostUsd?: string;
  /** What it may surely spend: held for it from its begin on, in an envelope of which its steps are parts. Decimal string. */
  guaranteedUsd?: string;
  /** What that is held on: `llm`, and what else it may use that a limit covers. */
  guaranteedOn?: Resource[];
  /** Its model is told what is left of that ceiling, and money for a last answer is held from the start. */
  lastCall?: true;
  /** Its answers have to fit a schema: one that does not is asked for once more. */
  answersFit?: true;
  /** Whose limit counts it too: a run, or a turn of a conversation, that has one on record. */
  parentRunId?: string;
  /** What a step does when the authority does not answer; waits when absent. */
  unavailable?: { then: 'deny' | 'allow'; afterMs: number };
  /** What a denied step does: ends the run or turn when absent, or waits until there is money. */
  onDenied?: 'wait';
  /** A step that waits for money asks people for it, and waits for their answer for so many days. */
  askDays?: number;
  /** How long a step that ends the run when it is denied waits before that for what others hold. 15 when absent. */
  waitForHoldsSeconds?: number;
  /** Whether a context that has grown too large is summed up. */
  compact?: boolean;
  /** Tools that are not simply used, by name. */
  tools?: Partial<Record<string, ToolRule>>;
  /** Some of them are its tenant's own, and take time. */
  hasOwnTools?: true;
  /** Wall-clock limit of the run, or of one turn. */
  timeoutSeconds: number;
  sandboxTier: string;
  /** How long a sandbox lives before it is extended, and what its creation reserves money for. */
  sandboxWindowSeconds: number;
  /** How long one program may run. Absent for runs that do not extend their sandbox. */
  executionSeconds?: number;
  /** How long a sandbox that nobody uses runs, and stays paused. */
  sandboxIdle?: { pauseSeconds: number; killSeconds: number };
}

export interface AgentRunResult {
  runId: string;
  status: 'completed' | 'quota_exceeded' | 'failed' | 'cancelled';
  /** It was to answer with what it had: its money was used up. */
  stoppedBy?: 'budget';
}

/** Which model call or sandbox the run is at, for queries and Temporal UI. */
export interface RunProgress {
  step: number;
  doing: string;
}
export const runProgressQuery = defineQuery<RunProgress>('runProgress');

const conversationPrefix = 'conversation/';
export const conversationWorkflowId = (conversationId: string): string => `${conversationPrefix}${conversationId}`;
/** The conversation that a workflow is, if it is one. */
export const conversationIdOf = (workflowId: string): string | undefined =>
  workflowId.startsWith(conversationPrefix) ? workflowId.slice(conversationPrefix.length) : undefined;

/** A conversation is a run of that id; its limits hold for each turn. */
export interface ConversationInput extends AgentRunInput {
  carried?: CarriedConversation;
}

/** What one execution of a conversation hands to the next. */
export interface CarriedConversation {
  /** The last step that was taken. */
  step: number;
  /** The turn that goes on. */
  turn?: CarriedTurn;
  sandbox?: CarriedSandbox;
  /** A message may wait that was not looked for yet. */
  rung?: true;
}

export interface CarriedTurn {
  turnId: string;
  /** The step of its first model call. */
  firstStep: number;
  /** What is left of its time, in milliseconds. */
  leftMs: number;
  /** What it has cost, for its own limit. */
  spentUsd: string;
  /** Whether the books count all of that for its limit. */
  isInBooks?: boolean;
  /** An answer that did not fit was asked for once more. */
  isRepaired?: true;
}

/** A sandbox that runs, or that is paused; with the plan of its window. */
export interface CarriedSandbox {
  state: 'open' | 'paused';
  sandbox: OpenSandbox;
  plan: SandboxPlan;
}

/** A message was stored under this turn id. Answers at once; the turn's events tell the rest. */
export const postMessageUpdate = defineUpdate<{ turnId: string }, [{ turnId: string }]>('postMessage');
/** Stops the current turn, or only the named one. */
export const interruptSignal = defineSignal<[{ turnId?: string }]>('interrupt');
/** Ends a conversation after what it does now was stopped. */
export const closeSignal = defineSignal('close');

/**
 * A person decided. With a decision it is recorded, unless somebody was first; without one it was recorded already. In Temporal
 * UI: `{"approvalId": "…", "decision": "approve" | "refuse" | "answer", "answer": "…", "decidedBy": "…"}`.
 */
export const decideApprovalSignal = defineSignal<[ApprovalSignal]>('decideApproval');
export type { ApprovalSignal };

/**
 * A person decided on what a run asks for. It is recorded, unless somebody was first. In Temporal UI:
 * `{"requestId": "…", "decision": "grant" | "refuse", "amountUsd": "…", "expiresAt": "…", "reason": "…", "decidedBy": "…"}`.
 */
export const answerMoneySignal = defineSignal<[MoneyAnswerSignal]>('answerMoney');

/** There may be money now for a step that waits for it. */
export const moneyFreedSignal = defineSignal('moneyFreed');
