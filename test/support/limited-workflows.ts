/** Workflows of one's own that spend under limits of theirs, and note no cost. */
import {
  condition,
  continueAsNew,
  defineSignal,
  executeChild,
  proxyActivities,
  setHandler,
} from '@temporalio/workflow';
import { failureOf } from '../../workflows/failures';
import type { BudgetScope } from '../../workflows/budget/paid-step';
import { Budget } from '../../workflows/budget/with-budget';

export interface LimitedActivities {
  pay(request: { tenantId: string; operationId: string; costUsd: string }): Promise<string>;
}
export const goOnSignal = defineSignal('goOn');

const { pay } = proxyActivities<LimitedActivities>({
  startToCloseTimeout: '30 seconds',
  retry: { maximumAttempts: 1 },
});

const paying = (budget: Budget, { tenantId }: BudgetScope, costUsd: string, amountUsd = costUsd): Promise<string> =>
  budget
    .withBudget(
      { resource: 'llm', kind: 'test.call', amountUsd, priceVersion: 'test', ttlSeconds: 60 },
      ({ operationId }) => pay({ tenantId, operationId, costUsd }),
    )
    .catch((error: unknown) => failureOf(error)?.code ?? String(error));

/** One step, which may cost more than it does. */
export async function limitedStep(scope: BudgetScope, costUsd: string, amountUsd?: string): Promise<string> {
  const budget = new Budget(scope);
  const end = await paying(budget, scope, costUsd, amountUsd);
  await budget.settled();
  return end;
}

/** Children at once that each make one step, of a parent that spends nothing. */
export async function limitedParent(scope: BudgetScope, costsUsd: string[], amountUsd?: string): Promise<string[]> {
  const ofChild = await new Budget(scope).scopeForChild();
  return Promise.all(costsUsd.map((costUsd) => executeChild(limitedStep, { args: [ofChild, costUsd, amountUsd] })));
}

/** One step in each execution, the next one when it is told to. */
export async function limitedChain(scope: BudgetScope, costsUsd: string[], came: string[] = []): Promise<string[]> {
  let isTold = false;
  setHandler(goOnSignal, () => void (isTold = true));
  const budget = new Budget(scope);
  const [costUsd = '0', ...rest] = costsUsd;
  const ends = [...came, await paying(budget, scope, costUsd, '0.4')];
  await budget.settled();
  await condition(() => isTold);
  if (rest.length === 0) return ends;
  return continueAsNew<typeof limitedChain>(scope, rest, ends);
}
