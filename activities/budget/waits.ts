/** A denied step's place in the line of those that wait for money, and what it asks of people meanwhile. */
import { Context } from '@temporalio/activity';
import type { Coalescer } from '../../authority/client/coalescer';
import type { BudgetActivities } from '../../contracts/budget';
import { parseAmountUsd } from '../../core/money';
import { addWaiter, removeWaiter } from '../../store/money-waiters';
import type { Pool } from '../../store/pool';
import type { Logger } from '../../telemetry/log';
import { createAsking } from './asking';

/** Those that wait for the same moment, such as the end of a period, ask in their order, each so long after the one before it. */
const inTurnMs = 2_000;

interface WaitDependencies {
  pool: Pool;
  coalescer: Coalescer;
  alertsRaised: (() => void) | undefined;
  log: Logger;
}

export function createWaits({
  coalescer,
  ...dependencies
}: WaitDependencies): Pick<BudgetActivities, 'awaitMoney' | 'endWaiting'> {
  const { pool, log } = dependencies;
  const people = createAsking(dependencies);
  return {
    async awaitMoney({ quota, retryAfterSeconds, neededUsd, wantedUsd, asks, ...waiter }) {
      const { tenantId, runId, resource } = waiter;
      log.info({ tenantId, runId, resource }, 'a denied step waits for money');
      const wait = {
        ...waiter,
        executionId: executionId(),
        neededUsd: parseAmountUsd(neededUsd),
        ...(wantedUsd === undefined ? {} : { wantedUsd: parseAmountUsd(wantedUsd) }),
      };
      const before = await addWaiter(pool, wait, { quota, retryAfterSeconds });
      const asked = asks && (await people.ask({ ...wait, quota }, asks));
      // What was freed since its denial was freed before anybody knew of it; a grant that came by signal is for all that wait.
      await coalescer.send(tenantId, { type: 'reload' });
      return { afterMs: before * inTurnMs, ...asked };
    },

    endWaiting: (waiter) => removeWaiter(pool, { ...waiter, executionId: executionId() }),
  };
}

/** Which execution of its workflow asks: one that was reset has another. */
const executionId = (): string | undefined => Context.current().info.workflowExecution?.runId;
