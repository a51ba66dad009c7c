/** How a signal reaches the authority of a tenant at Temporal: it is started where it does not run. */
import type { Client, WorkflowSignalWithStartOptions } from '@temporalio/client';
import { isGrpcServiceError, WorkflowNotFoundError } from '@temporalio/client';
import { WorkflowIdReusePolicy } from '@temporalio/common';
import type { BudgetCommand } from '../../core/budget/commands';
import {
  budgetCommandsSignal,
  budgetWorkflowId,
  priorityOf,
  tenantIdAttribute,
  type TenantBudgetInput,
} from '../../contracts/messages';

/** The way to the authorities. */
export interface AuthoritySignals {
  /** Resolves once Temporal has accepted the commands. */
  signal(tenantId: string, commands: BudgetCommand[]): Promise<void>;
  /** How long the history of a tenant's authority is. */
  historyOf(tenantId: string): Promise<{ events: number; bytes: number }>;
}

/** What Temporal does not answer by then, with the library's own tries of it, is sent anew: others of the tenant wait behind it. */
const signalMs = 10_000;

export class TemporalSignals implements AuthoritySignals {
  /** Tenants whose authority was running when last signalled. */
  private readonly started = new Set<string>();

  /** @param options.taskQueue the queue of the authorities. */
  constructor(private readonly options: { client: Client; taskQueue: string }) {}

  signal(tenantId: string, commands: BudgetCommand[]): Promise<void> {
    return this.options.client.withDeadline(Date.now() + signalMs, () => this.send(tenantId, commands));
  }

  private async send(tenantId: string, commands: BudgetCommand[]): Promise<void> {
    if (await this.signalRunning(tenantId, commands)) return;
    const { client, taskQueue } = this.options;
    const options: WorkflowSignalWithStartOptions<[BudgetCommand[]]> & { args: [TenantBudgetInput] } = {
      workflowId: budgetWorkflowId(tenantId),
      taskQueue,
      args: [{ tenantId }],
      priority: priorityOf('tenantBudget', tenantId),
      signal: budgetCommandsSignal,
      signalArgs: [commands],
      workflowIdReusePolicy: WorkflowIdReusePolicy.ALLOW_DUPLICATE,
      typedSearchAttributes: [{ key: tenantIdAttribute, value: tenantId }],
      staticSummary: 'Budget authority: decides every reservation of its tenant, in one order',
      staticDetails: 'What the tenant has spent, reserved and left: under Current Details, once they are refreshed.',
    };
    await client.workflow.signalWithStart('tenantBudget', options);
    this.started.add(tenantId);
  }

  async historyOf(tenantId: string): Promise<{ events: number; bytes: number }> {
    const { historyLength, historySize = 0 } = await this.options.client.workflow
      .getHandle(budgetWorkflowId(tenantId))
      .describe();
    return { events: historyLength, bytes: historySize };
  }

  /** A plain signal costs the server less, but an authority that is idle has completed. False when it has. */
  private async signalRunning(tenantId: string, commands: BudgetCommand[]): Promise<boolean> {
    if (!this.started.has(tenantId)) return false;
    try {
      await this.options.client.workflow.getHandle(budgetWorkflowId(tenantId)).signal(budgetCommandsSignal, commands);
      return true;
    } catch (error) {
      if (!(error instanceof WorkflowNotFoundError)) throw error;
      this.started.delete(tenantId);
      return false;
    }
  }
}

/**
 * Whether the server turned a signal away because there is too much to do. A full history (50 MB, or 10,000 signals)
 * comes as INVALID_ARGUMENT, although trying again is right: the authority continues as new.
 */
export function isBackPressure(error: unknown): boolean {
  const cause = causeOf(error);
  if (!cause) return false;
  const resourceExhausted = 8;
  const invalidArgument = 3;
  const code = Number(cause.code);
  if (code === resourceExhausted) return true;
  return code === invalidArgument && /exceed|limit|too many|terminated/i.test(cause.details);
}

/** Whether the server did not answer in time: the signal may have been taken, and sending it again is harmless. */
export function isUnanswered(error: unknown): boolean {
  const deadlineExceeded = 4;
  return Number(causeOf(error)?.code) === deadlineExceeded;
}

function causeOf(error: unknown): { code: unknown; details: string } | undefined {
  const cause = error instanceof Error && isGrpcServiceError(error.cause) ? error.cause : error;
  return isGrpcServiceError(cause) ? cause : undefined;
}
