/** The run's side of the budget: reserve, commit, release, and the reading back at its end. */
import { CompleteAsyncError, Context } from '@temporalio/activity';
import { context, propagation } from '@opentelemetry/api';
import type { BudgetCommand, Enforced, ReserveAnswer, ReserveCommand } from '../../core/budget/commands';
import type { Logger } from '../../telemetry/log';
import { allowUnreserved } from '../../store/decided';
import { findEnvelopeOfRun } from '../../store/envelopes';
import type { Pool } from '../../store/pool';
import { openRunLimit } from '../../store/run-limits';
import { findOperation } from '../../store/reservations';
import { findUnsettled } from '../../store/run-steps';
import type { AttemptEnd, BudgetActivities, OpenEnvelope, OperationRef, ReserveRequest } from '../../contracts/budget';
import { askQuickly, decideOverdue, type AskedBy } from '../../authority/client/ask-quickly';
import { createWaits } from './waits';

export interface BudgetDependencies extends AskedBy {
  pool: Pool;
  /** Whether quotas of a resource bind. */
  enforced: Enforced;
  /** Told of an alert that is to be sent; upkeep finds it within a minute where nobody is. */
  alertsRaised?: (() => void) | undefined;
  log: Logger;
}

export function createBudgetActivities({
  pool,
  coalescer,
  replies,
  direct,
  enforced,
  alertsRaised,
  log,
}: BudgetDependencies): BudgetActivities {
  const decideOrSend = decidingBy({ direct, coalescer });
  return {
    async reserveQuickly({ tenantId, ...request }: ReserveRequest): Promise<ReserveAnswer | null> {
      const command: ReserveCommand = { type: 'reserve', ...request, ...traceContext(ownWorkflow(request)) };
      return (await askQuickly({ direct, coalescer, replies }, tenantId, command)) ?? null;
    },

    async reserve({ tenantId, ...request }: ReserveRequest): Promise<ReserveAnswer> {
      const { workflowExecution, activityId } = Context.current().info;
      if (!workflowExecution) throw new Error('reserve answers to a workflow, and none called it');
      const command: ReserveCommand = {
        type: 'reserve',
        ...request,
        replyTo: { ...workflowExecution, activityId },
        ...traceContext(ownWorkflow(request)),
      };
      // Its authority may stand still with its worker. What a signal before this had decided is found on record.
      const answer = await decideOverdue({ direct }, tenantId, command);
      if (answer) return answer;
      await coalescer.send(tenantId, command);
      throw new CompleteAsyncError();
    },

    async allowUnreserved({ tenantId, ...request }: ReserveRequest): Promise<ReserveAnswer> {
      log.warn(
        { tenantId, operationId: request.operationId, amountUsd: request.amountUsd },
        'a step goes on without a grant: its authority did not answer, and its policy allows it',
      );
      return allowUnreserved(pool, { tenantId, command: { type: 'reserve', ...request }, enforced });
    },

    async commit({ tenantId, operationId }: OperationRef): Promise<AttemptEnd> {
      const found = await findOperation(pool, { tenantId, operationId });
      await decideOrSend(tenantId, { type: found?.claimed ? 'commit' : 'release', operationId, ...traceContext() });
      if (!found?.claimed) return { outcome: 'not_called', costUsd: '0' };
      if (!found.outcome) return { outcome: 'unknown', ...(found.result == null ? {} : { result: found.result }) };
      return { outcome: found.outcome, costUsd: found.outcomeUsd ?? '0', result: found.result };
    },

    async findEnvelope(run): Promise<{ open?: OpenEnvelope }> {
      const open = await findEnvelopeOfRun(pool, run);
      return open ? { open } : {};
    },

    openRunLimit: ({ tenantId, runLimit }) => openRunLimit(pool, tenantId, runLimit),
    release: ({ tenantId, operationId }: OperationRef): Promise<void> =>
      decideOrSend(tenantId, { type: 'release', operationId, ...traceContext() }),

    ...createWaits({ pool, coalescer, alertsRaised, log }),

    async settleQuickly({ tenantId, operationIds }): Promise<string[]> {
      const unsettled = await findUnsettled(pool, { tenantId, operationIds });
      if (unsettled.length === 0 || !direct) return unsettled;
      const decided = await Promise.all(endingOf(unsettled).map((command) => direct.decide(tenantId, command)));
      return decided.every(Boolean) ? findUnsettled(pool, { tenantId, operationIds: unsettled }) : unsettled;
    },

    async confirmSettled({ tenantId, operationIds }): Promise<void> {
      for (let waitMs = 5; ; waitMs = Math.min(waitMs * 2, 1_000)) {
        const unsettled = await findUnsettled(pool, { tenantId, operationIds });
        if (unsettled.length === 0) return;
        Context.current().heartbeat(unsettled.length);
        await Promise.all(endingOf(unsettled).map((command) => decideOrSend(tenantId, command)));
        await Context.current().sleep(waitMs);
      }
    },
  };
}

/** Has a command decided: here, under the tenant's mandate, or by its authority. */
const decidingBy =
  ({ direct, coalescer }: Pick<AskedBy, 'direct' | 'coalescer'>) =>
  async (tenantId: string, command: BudgetCommand): Promise<void> => {
    if (!(await direct?.decide(tenantId, command))) await coalescer.send(tenantId, command);
  };

/** A commit ends what was decided; the release after it leaves a tombstone for what never was. */
const endingOf = (operationIds: readonly string[]): BudgetCommand[] =>
  operationIds.flatMap((operationId) => [
    { type: 'commit' as const, operationId },
    { type: 'release' as const, operationId },
  ]);

/** The workflow that asks, where it is none of a run or conversation: people look for it in Temporal UI. */
function ownWorkflow({ runId }: Pick<ReserveRequest, 'runId'>): Record<string, string> {
  const { workflowExecution } = Context.current().info;
  return runId !== undefined || !workflowExecution ? {} : { workflowId: workflowExecution.workflowId };
}

/** The active span, as it travels with a command, and what else is said of who sends it. */
function traceContext(carrier: Record<string, string> = {}): { traceContext?: Record<string, string> } {
  propagation.inject(context.active(), carrier);
  return Object.keys(carrier).length > 0 ? { traceContext: carrier } : {};
}
