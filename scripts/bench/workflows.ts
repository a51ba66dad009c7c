/** The workflows that are measured: paid steps with and without `withBudget`, with the authority that they need, and signals that do nothing. */
import { condition, defineQuery, defineSignal, proxyActivities, setHandler, workflowInfo } from '@temporalio/workflow';
import { siblingQueues } from '../../contracts/messages';
import { Budget } from '../../workflows/budget/with-budget';

export * from '../../workflows';

export interface BenchRunInput {
  tenantId: string;
  steps: number;
  budgeted: boolean;
  /** Where the call waits for a worker: with its workflow, or where the product's paid calls do. */
  queue: 'own' | 'calls';
}

/** The measured activity: a provider that answers after 5 ms; with an operation id it claims first and settles after. */
export interface BenchActivities {
  benchCall(request: { tenantId: string; operationId?: string }): Promise<{ costUsd: string }>;
}

/** Makes paid calls one after the other. Answers how long each step took, in milliseconds. */
export async function benchRun({ tenantId, steps, budgeted, queue }: BenchRunInput): Promise<number[]> {
  const { taskQueue } = workflowInfo();
  const { benchCall } = proxyActivities<BenchActivities>({
    taskQueue: queue === 'own' ? taskQueue : siblingQueues(taskQueue).calls,
    startToCloseTimeout: '60 seconds',
    heartbeatTimeout: '10 seconds',
    retry: { maximumAttempts: 1 },
  });
  const budget = new Budget({ tenantId });
  const durationsMs: number[] = [];
  for (let step = 1; step <= steps; step += 1) {
    const startedMs = Date.now();
    if (budgeted) {
      const paid = {
        resource: 'llm' as const,
        kind: 'llm.call',
        amountUsd: '0.01',
        priceVersion: 'bench',
        ttlSeconds: 300,
        step,
      };
      await budget.withBudget(paid, ({ operationId }) => benchCall({ tenantId, operationId }));
    } else {
      await benchCall({ tenantId });
    }
    durationsMs.push(Date.now() - startedMs);
  }
  await budget.settled();
  return durationsMs;
}

export const plainSignal = defineSignal('plain');
export const takenQuery = defineQuery<number>('taken');

/** Takes so many signals, and does nothing with them. */
export async function plainCounter(signals: number): Promise<void> {
  let taken = 0;
  setHandler(takenQuery, () => taken);
  setHandler(plainSignal, () => void (taken += 1));
  await condition(() => taken >= signals);
}
