/**
 * Waking denied steps that wait for money: by a signal to their workflow, which then asks again. What one was woken for is kept for it
 * for a moment. One that has not asked by then (its workers are gone or stand still, its workflow was reset before it began to
 * wait) is told again now and then, and holds up nobody behind it.
 */
import { WorkflowNotFoundError, type Client } from '@temporalio/client';
import type { Logger } from '../telemetry/log';
import { standingOf } from '../core/budget/quotas';
import { whoFits } from '../core/budget/waiters';
import { listWaiters, noteWoken, removeWaiter, type MoneyWaiter } from '../store/money-waiters';
import type { Pool } from '../store/pool';
import { listQuotas } from '../store/quotas';
import { moneyFreedSignal } from '../contracts/messages';
import type { AuthorityActivities } from '../contracts/budget';

/** Who was woken is given this long to ask, and what it was woken for is kept for it meanwhile. */
const keptMs = 3_000;
/** Who did not ask is told again after this long: the word to it may have been lost. */
const toldAgainMs = 30_000;
/** After that time what was kept and not asked for is the next one's. */
const lookAgainMs = keptMs + 100;

interface WakeDependencies {
  pool: Pool;
  client: Client;
  log: Logger;
}

export function createWakeWaiters(dependencies: WakeDependencies): AuthorityActivities['wakeWaiters'] {
  /** By tenant. A look that a process does not live to take is upkeep's. */
  const looks = new Map<string, NodeJS.Timeout>();

  async function look(tenantId: string): Promise<{ woken: number; left: number }> {
    // Those that are not there any more are taken out of the line, and what they had been woken for is the next one's.
    for (let before = 0; ;) {
      const { woken, left, gone } = await wakeOnce(dependencies, tenantId);
      before += woken;
      if (!gone) return { woken: before, left };
    }
  }

  function lookLater(tenantId: string): void {
    clearTimeout(looks.get(tenantId));
    const lookNow = async (): Promise<void> => {
      looks.delete(tenantId);
      const { woken, left } = await look(tenantId);
      if (woken > 0 && left > 0) lookLater(tenantId);
    };
    const note = (error: unknown): void =>
      dependencies.log.warn({ tenantId, error }, 'those that wait for money could not be looked at');
    looks.set(tenantId, setTimeout(() => void lookNow().catch(note), lookAgainMs).unref());
  }

  return async ({ tenantId }) => {
    const { left } = await look(tenantId);
    // Also what was freed during this look, which no look of the authority may follow.
    if (left > 0) lookLater(tenantId);
  };
}

/** Wakes those that fit now. Answers how many were and how many were not, and whether some of them were not there any more. */
async function wakeOnce(
  { pool, client, log }: WakeDependencies,
  tenantId: string,
): Promise<{ woken: number; left: number; gone: boolean }> {
  const waiters = (await listWaiters(pool, tenantId)).map((waiter) => ({
    ...waiter,
    isSilent: waiter.sinceWokenMs !== undefined && waiter.sinceWokenMs >= keptMs,
  }));
  const asleep = waiters.filter(({ sinceWokenMs }) => sinceWokenMs === undefined);
  const nobody = { woken: 0, left: asleep.length, gone: false };
  if (waiters.length === 0) return nobody;
  const payers = new Set(waiters.flatMap(({ userId }) => userId ?? []));
  const quotas = await listQuotas(pool, tenantId, [...payers]);
  const fit = whoFits(quotas.map(standingOf), waiters);
  const toWake = fit.filter(({ sinceWokenMs }) => sinceWokenMs === undefined);
  const toRemind = fit.filter(({ sinceWokenMs }) => sinceWokenMs !== undefined && sinceWokenMs >= toldAgainMs);
  const told = [...toWake, ...toRemind];
  if (told.length === 0) return nobody;
  if (toWake.length > 0) await noteWoken(pool, { tenantId, waiterIds: idsOf(toWake) });
  if (toRemind.length > 0) await noteWoken(pool, { tenantId, waiterIds: idsOf(toRemind), agoMs: keptMs });
  const gone = await Promise.all(
    told.map(async ({ waiterId, workflowId }) => {
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
  return { woken: toWake.length, left: asleep.length - toWake.length, gone: gone.includes(true) };
}

const idsOf = (waiters: readonly MoneyWaiter[]): string[] => waiters.map(({ waiterId }) => waiterId);
