/**
 * Waking denied steps that wait for money: by a signal to their workflow, which then asks again. What one was woken for is kept for it
 * for a moment, and what one still gathers for a while. One that has not asked by then (its workers are gone or stand still, its
 * workflow was reset before it began to wait) is told again now and then, and holds up nobody behind it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { WorkflowNotFoundError, type Client } from '@temporalio/client';
import type { Logger } from '../telemetry/log';
import { holdsUpMs, standInLine, type Standpoint } from '../core/budget/line';
import { standingOf } from '../core/budget/quotas';
import {
  keptMs,
  listWaiters,
  noteLine,
  removeWaiter,
  type LineChange,
  type WaiterInLine,
} from '../store/money-waiters';
import type { Pool } from '../store/pool';
import { listQuotas } from '../store/quotas';
import { laterLooks } from './later-looks';
import { moneyFreedSignal } from '../contracts/messages';
import type { AuthorityActivities } from '../contracts/budget';

/** Who did not ask is told again after this long: the word to it may have been lost. */
const toldAgainMs = 30_000;
/** Somebody's time is over by then: its end is not looked for at that very moment. */
const graceMs = 100;

interface WakeDependencies {
  pool: Pool;
  client: Client;
  log: Logger;
}

/** What one look came to. */
interface Look {
  /** How many wait on. */
  left: number;
  /** When what is kept for one of them is the next one's; undefined where nothing is. */
  againMs?: number | undefined;
  /** Some were not there any more, and what they had been woken for is the next one's. */
  gone?: boolean;
}

export function createWakeWaiters(dependencies: WakeDependencies): AuthorityActivities['wakeWaiters'] {
  async function look(tenantId: string): Promise<Look> {
    for (let againMs: number | undefined; ;) {
      const found = await wakeOnce(dependencies, tenantId);
      againMs = sooner(againMs, found.againMs);
      if (!found.gone) return { ...found, againMs };
    }
  }

  const later = laterLooks(async (tenantId) => {
    const { left, againMs } = await look(tenantId);
    return left > 0 ? againMs : undefined;
  }, dependencies.log);

  return async ({ tenantId, afterMs = 0 }) => {
    await sleep(afterMs);
    const { left, againMs } = await look(tenantId);
    // Also what was freed during this look, which no look of the authority may follow.
    if (left > 0) later.plan(tenantId, sooner(againMs, keptMs + graceMs) as number);
  };
}

const sooner = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined ? (a ?? b) : Math.min(a, b);

type Stands = Standpoint<WaiterInLine>;

const isAsleep = ({ waiter }: Stands): boolean => waiter.sinceWokenMs === undefined;

/** What is kept for one that was woken is kept from all others, wherever it stands: that is taken of what there is first. */
function awakeFirst(line: readonly WaiterInLine[]): WaiterInLine[] {
  const isAwake = ({ keptUsd, sinceWokenMs = Infinity }: WaiterInLine): boolean =>
    keptUsd > 0n && sinceWokenMs < keptMs;
  return [...line.filter(isAwake), ...line.filter((one) => !isAwake(one))];
}

/** Wakes those that fit now, and notes what is kept for whom. */
async function wakeOnce({ pool, client, log }: WakeDependencies, tenantId: string): Promise<Look> {
  const line = awakeFirst(await listWaiters(pool, tenantId));
  if (line.length === 0) return { left: 0 };
  const userIds = [...new Set(line.flatMap(({ userId }) => userId ?? []))];
  const quotas = await listQuotas(pool, tenantId, {
    userIds,
    labels: line.flatMap(({ labels }) => (labels ? [labels] : [])),
  });
  const stands = standInLine(quotas.map(standingOf), line.map(asAsker));
  const toWake = stands.filter((one) => one.fits && isAsleep(one));
  const toRemind = stands.filter(({ fits, waiter }) => fits && (waiter.sinceWokenMs ?? 0) >= toldAgainMs);
  const gather = stands.filter((one) => !one.fits && isAsleep(one));
  await noteLine(pool, tenantId, [
    ...toWake.map((one) => ({ ...keeping(one, keptMs), wokenAgoMs: 0 })),
    ...toRemind.map((one) => ({ ...keeping(one, 0), wokenAgoMs: keptMs })),
    ...gather
      .filter(({ waiter, keptUsd }) => waiter.keptUsd !== keptUsd)
      .map((one) => keeping(one, Math.max(0, holdsUpMs - one.waiter.waitedMs))),
  ]);
  const told = await Promise.all(
    [...toWake, ...toRemind].map(async ({ waiter: { waiterId, workflowId } }) => {
      try {
        await client.workflow.getHandle(workflowId).signal(moneyFreedSignal);
        return 'woken';
      } catch (error) {
        if (error instanceof WorkflowNotFoundError) {
          await removeWaiter(pool, { tenantId, waiterId });
          return 'gone';
        }
        // Upkeep has it told again.
        log.warn({ tenantId, workflowId, error }, 'a step that waits for money could not be woken');
        return 'untold';
      }
    }),
  );
  const gathering = gather.filter(({ keptUsd }) => keptUsd > 0n);
  const ends = gathering.map(({ waiter }) => Math.max(0, holdsUpMs - waiter.waitedMs) + graceMs);
  return {
    left: gather.length,
    againMs: [...(told.length > 0 ? [keptMs + graceMs] : []), ...ends].reduce<number | undefined>(sooner, undefined),
    gone: told.includes('gone'),
  };
}

function asAsker(waiter: WaiterInLine) {
  const { neededUsd, wantedUsd, waitedMs, sinceWokenMs } = waiter;
  return {
    ...waiter,
    amountUsd: wantedUsd ?? neededUsd,
    minimumUsd: neededUsd,
    // As its step asks: after that time it takes less.
    prefersWhole: wantedUsd !== undefined && waitedMs < holdsUpMs,
    isSilent: sinceWokenMs !== undefined && sinceWokenMs >= keptMs,
  };
}

const keeping = ({ waiter: { waiterId, isNamed }, keptUsd }: Stands, keptForMs: number): LineChange => ({
  waiterId,
  keptUsd: isNamed ? keptUsd : 0n,
  keptForMs,
});
