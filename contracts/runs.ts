/** The ledger activities as workflows see them: types only. */
import type { BindingQuota, Resource } from '../core/budget/commands';
import type { AgentRunResult, ApprovalSignal } from './messages';

export interface RunFailureText {
  code: string;
  message: string;
  resource?: Resource;
  quota?: BindingQuota;
  retryAfterSeconds?: number;
}

/** A question to a person about a tool call: which, under which id. What the tool would be given is in the transcript. */
export interface AskedCall {
  approvalId: string;
  toolUseId: string;
}

/** What a run has cost so far, from the ledger; those who asked before it was told have none. */
export interface CostSoFar {
  /** Decimal string. */
  costUsd: string;
  /** What those steps came to whose cost the workflow was not told: of sandboxes, and of attempts that nobody knows of. */
  steps?: SettledStep[];
}

/** What a step cost in the end. */
export interface SettledStep {
  operationId: string;
  /** Decimal string. */
  costUsd: string;
  /** Charged by its estimate, since nobody knows whether it was billed. */
  unverified?: true;
}

/** Runs on the runs queue. */
export interface RunActivities {
  /** Ends the run in Postgres. The answer is taken from its transcript. A repeat changes nothing. */
  endRun(request: {
    tenantId: string;
    runId: string;
    status: AgentRunResult['status'];
    failure?: RunFailureText;
    stoppedBy?: 'budget';
  }): Promise<CostSoFar | undefined>;
  /** Takes the conversation's oldest message that waits, under this step number. Null when there is none. */
  beginTurn(request: {
    tenantId: string;
    runId: string;
    openingStep: number;
  }): Promise<{ turnId: string; openingStep: number } | null>;
  /** The same as a local activity. */
  beginTurnQuickly(request: {
    tenantId: string;
    runId: string;
    openingStep: number;
  }): Promise<{ begun: { turnId: string; openingStep: number } | null }>;
  /** Ends a turn in Postgres. A repeat changes nothing. */
  endTurn(request: {
    tenantId: string;
    runId: string;
    turnId: string;
    status: 'completed' | 'quota_exceeded' | 'failed' | 'interrupted' | 'cancelled';
    failure?: RunFailureText;
    stoppedBy?: 'budget';
  }): Promise<CostSoFar | undefined>;
  /** Ends a conversation in Postgres, with its messages that were not answered. A repeat changes nothing. */
  endConversation(request: {
    tenantId: string;
    runId: string;
    status: 'completed' | 'cancelled' | 'failed';
    failure?: RunFailureText;
  }): Promise<CostSoFar | undefined>;
  /** Asks people about tool calls of a step. A repeat asks nothing twice. */
  openApprovals(request: {
    tenantId: string;
    runId: string;
    turnId?: string;
    step: number;
    asked: AskedCall[];
  }): Promise<void>;
  /** Records decisions that came by signal; answers which of a step's approvals still wait. */
  pendingApprovals(request: {
    tenantId: string;
    runId: string;
    step: number;
    decided: ApprovalSignal[];
  }): Promise<string[]>;
  /** The calls of a step that people did not allow: by their ids in the model's reply. */
  refusedCalls(request: { tenantId: string; runId: string; step: number }): Promise<string[]>;
  /** Does nothing: what follows it runs in a workflow task of its own. */
  nextTask(): Promise<void>;
  /** Nobody waits any more for what people were asked in this run. */
  withdrawApprovals(request: { tenantId: string; runId: string }): Promise<void>;
}
