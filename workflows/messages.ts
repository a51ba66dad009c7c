/**
 * How to reach the workflows: their names, ids, inputs, signals and queries. Clients, workers and the workflows
 * themselves import it; it holds no behaviour.
 */
import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import { defineQuery, defineSignal } from '@temporalio/workflow';
import type { BudgetCommand } from '../core/commands';
import type { QuotaState } from '../activities/contracts/budget';

/** Which tenant a workflow works for. Search attributes are never encrypted: ids only, nothing personal. */
export const tenantIdAttribute = defineSearchAttributeKey('SpendlockTenantId', SearchAttributeType.KEYWORD);
/** How a run ended: completed, quota_exceeded, failed or cancelled. */
export const runStatusAttribute = defineSearchAttributeKey('SpendlockRunStatus', SearchAttributeType.KEYWORD);

/** The three queues of an installation. Each can have workers of its own. */
export const taskQueues = (prefix: string): { runs: string; budget: string; sandbox: string } => ({
  runs: `${prefix}-runs`,
  budget: `${prefix}-budget`,
  sandbox: `${prefix}-sandbox`,
});

/** The queues beside the one that a workflow runs on. */
export const siblingQueues = (queue: string): ReturnType<typeof taskQueues> =>
  taskQueues(queue.replace(/-[a-z]+$/, ''));

export const defaultTaskQueuePrefix = 'spendlock';

/** The authority of a tenant: one workflow, started by its first signal. */
export const budgetWorkflowId = (tenantId: string): string => `budget/${tenantId}`;
export const runWorkflowId = (runId: string): string => `run/${runId}`;

export interface TenantBudgetInput {
  tenantId: string;
  /** Commands that the execution before had not decided. */
  carried?: BudgetCommand[];
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
}
export const budgetStateQuery = defineQuery<BudgetState>('budgetState');

/** What a run may do. Everything that it reads or says is in Postgres under its id, not here. */
export interface AgentRunInput {
  runId: string;
  tenantId: string;
  userId?: string;
  model: string;
  /** Output tokens that one model call may ask for. */
  maxOutputTokens: number;
  /** Model calls that the run may make. */
  maxSteps: number;
  /** The run's own ceiling: a step that could lift its cost above it is not made, and the run ends. Decimal string. */
  maxCostUsd?: string;
  /** What a step does when the authority does not answer; waits when absent. */
  unavailable?: { then: 'deny' | 'allow'; afterMs: number };
  /** Wall-clock limit. */
  timeoutSeconds: number;
  sandboxTier: string;
  /** How long a sandbox lives, and what its creation reserves money for. */
  sandboxWindowSeconds: number;
}

export interface AgentRunResult {
  runId: string;
  status: 'completed' | 'quota_exceeded' | 'failed' | 'cancelled';
}

/** Which model call or sandbox the run is at, for queries and Temporal UI. */
export interface RunProgress {
  step: number;
  doing: string;
}
export const runProgressQuery = defineQuery<RunProgress>('runProgress');
