/** Waking denied steps that wait for money: by a signal to their workflow, which then asks again. */
import { WorkflowNotFoundError, type Client } from '@temporalio/client';
import type { Logger } from '../telemetry/log';
import { standingOf } from '../core/budget/quotas';
import { whoFits } from '../core/budget/waiters';
import { listWaiters, noteWoken, removeWaiter } from '../store/money-waiters';
import type { Pool } from '../store/pool';
import { listQuotas } from '../store/quotas';
import { moneyFreedSignal } from '../contracts/messages';
import type { AuthorityActivities } from '../contracts/budget';

/** Who was woken is given this long to ask, and what it was woken for is kept for it meanwhile. */
const wokenAgoMs = 3_000;

export const createWakeWaiters =
  ({ pool, client, log }: { pool: Pool; client: Client; log: Logger }): AuthorityActivities['wakeWaiters'] =>
  async ({ tenantId }) => {
    // Those that are not there any more are taken out of the line, and what they had been woken for is the next one's.
    while (await wakeOnce({ pool, client, log }, tenantId));
  };

/** Wakes those that fit now. Answers whether some of them were not there any more. */
async function wakeOnce(
  { pool, client, log }: { pool: Pool; client: Client; log: Logger },
  tenantId: string,
): Promise<boolean> {
  const waiters = await listWaiters(pool, { tenantId, wokenAgoMs });
  if (waiters.length === 0) return false;
  const payers = new Set(waiters.flatMap(({ userId }) => userId ?? []));
  const quotas = await listQuotas(pool, tenantId, [...payers]);
  const toWake = whoFits(quotas.map(standingOf), waiters).filter(({ justWoken }) => !justWoken);
  if (toWake.length === 0) return false;
  await noteWoken(pool, { tenantId, waiterIds: toWake.map(({ waiterId }) => waiterId) });
  const gone = await Promise.all(
    toWake.map(async ({ waiterId, workflowId }) => {
      try {
        await client.workflow.getHandle(workflowId).signal(moneyFreedSignal);
        return false;
      } catch (error) {
        if (error instanceof WorkflowNotFoundError) {
          await removeWaiter(pool, { tenantId, waiterId });
          return true;
        }
        // Upkeep has it told again.
        log.warn({ tenantId, workflowId, error }, 'a step that waits for money could not be woken');
        return false;
      }
    }),
  );
  return gone.includes(true);
}
