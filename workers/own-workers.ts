/**
 * `spendlock/worker`: what a worker of your own needs to run paid steps: the budget activities for its task queue, and `paid`,
 * which a paid activity makes its call with. Where payloads are encrypted, `payloadEncryption` is for its client and worker too.
 */
import type { Client } from '@temporalio/client';
import type { DataConverter } from '@temporalio/common';
import type { Logger } from '../telemetry/log';
import { createBudgetActivities } from '../activities/budget';
import { PaidCalls } from '../activities/budget/paid-calls';
import type { BudgetActivities } from '../contracts/budget';
import { failure } from '../activities/failures';
import { Coalescer } from '../authority/client/coalescer';
import { directDecisions } from '../authority/client/direct-pool';
import { PendingReplies } from '../authority/client/pending-replies';
import { TemporalSignals } from '../authority/client/signals';
import { formatUsd, parseAmountUsd } from '../core/money';
import { dataConverterFrom } from '../temporal/encryption/data-converter';
import { readReservations } from '../store/decided';
import { deciderFrom } from '../store/decider';
import { lookAtDatabase } from '../store/first-look';
import { createPool } from '../store/pool';
import { createLog } from '../telemetry/log';
import { defaultTaskQueuePrefix, taskQueues } from '../contracts/messages';
import type { CallMoney } from './plugin/money';
import { PostgresMoney } from './plugin/postgres-money';

/**
 * The `dataConverter` of clients and workers of an installation that encrypts payloads (SPENDLOCK_PAYLOAD_KEYS); undefined of one
 * that does not. Of a workflow bundle that is made beforehand, its `failureConverterPath` is an option too.
 */
export const payloadEncryption = (environment: NodeJS.ProcessEnv = process.env): DataConverter | undefined =>
  dataConverterFrom(environment);

export interface OwnWorkerOptions {
  /** Of the role `spendlock_app`. */
  databaseUrl: string;
  /** Of the namespace in which the budget workers run. */
  client: Client;
  /** As the budget workers have it. */
  taskQueuePrefix?: string;
  /**
   * Where SPENDLOCK_MANDATES, ENFORCE_COST_QUOTAS and ENFORCE_E2B_QUOTAS are read, as the budget workers have them: the process's own
   * unless given. Where they are others, or the versions decide otherwise, the budget workers take every decision.
   */
  environment?: NodeJS.ProcessEnv;
  log?: Logger;
}

export { DatabaseRefusedError } from '../store/first-look';

/** What a paid call came to. Amounts are decimal strings of US dollars. */
export interface PaidCallResult<R> {
  costUsd: string;
  /** What is returned to the workflow. It is kept with the cost, so that a paid answer survives a crash. */
  result: R;
  usage?: unknown;
}

/** Thrown by a paid call to say that it was surely not billed. */
export class NotBilledError extends Error {
  override readonly name = 'NotBilledError';
  constructor(
    message: string,
    /** Whether the same call may succeed when it is tried again. */
    readonly retry = true,
  ) {
    super(message);
  }
}

export interface OwnWorker {
  /** To be registered on the worker's task queue, beside its own activities. */
  activities: BudgetActivities;
  /**
   * Makes one paid call with the grant of an operation: claims it, calls, and writes what it cost before it returns. A
   * `NotBilledError` releases the money; after any other error the estimate is charged as unverified.
   * @throws ApplicationFailure that `withBudget` understands.
   */
  paid<R>(
    operation: { tenantId: string; operationId: string },
    call: (grant: { grantedUsd: string }) => Promise<PaidCallResult<R>>,
  ): Promise<R>;
  /**
   * Looks at the database once, within seconds; to be awaited before the worker runs. One that does not answer now is told in the log
   * and waited for.
   * @throws DatabaseRefusedError when it refuses: the role, its password or the database is wrong.
   */
  ready(): Promise<void>;
  /** For `spendlock/temporal`: `new SpendlockPlugin({ budget, scope })` budgets the calls of an agent's models by it. */
  calls: CallMoney;
  /** Sends what is still to be sent, and closes the connections. */
  close(): Promise<void>;
}

export function budgetForOwnWorker({
  databaseUrl,
  client,
  taskQueuePrefix = defaultTaskQueuePrefix,
  environment = process.env,
  log = createLog({ name: 'own-worker', level: 'warn' }),
}: OwnWorkerOptions): OwnWorker {
  // The driver takes anything for an address, and an activity would be repeated for ever at a server that is not there.
  if (!/^postgres(ql)?:\/\/./.test(databaseUrl))
    throw new TypeError(
      'databaseUrl must be a postgres:// connection string of the role spendlock_app, as DATABASE_URL of the budget workers. Nothing was started.',
    );
  // It is said also where nobody awaits `ready`.
  const looked = lookAtDatabase(databaseUrl).then((away) => (away === undefined ? undefined : log.error(away)));
  looked.catch((error: Error) => log.error(error.message));
  const pool = createPool(databaseUrl);
  const coalescer = new Coalescer({
    signals: new TemporalSignals({ client, taskQueue: taskQueues(taskQueuePrefix).budget }),
  });
  const replies = new PendingReplies({ read: (asked) => readReservations(pool, asked), log });
  const { enforced, decides } = deciderFrom(environment);
  const decisions = decides ? directDecisions({ pool, enforced, coalescer, log }) : undefined;
  const paidCalls = new PaidCalls({ pool, coalescer, direct: decisions?.direct, log });
  return {
    ready: () => looked,
    calls: new PostgresMoney({ pool, coalescer, replies, direct: decisions?.direct, paidCalls, enforced }),
    activities: createBudgetActivities({ pool, coalescer, replies, direct: decisions?.direct, enforced, log }),
    async paid(operation, call) {
      return paidCalls.underClaim(operation, async (claim) => {
        let done;
        try {
          done = await call({ grantedUsd: formatUsd(claim.grantedUsd) });
        } catch (error) {
          if (!(error instanceof NotBilledError)) {
            log.warn({ error, ...operation }, 'a paid call failed, and whether it was billed is unknown');
            const message =
              'The paid call failed, and whether it was billed is unknown: the estimate is charged as unverified.';
            throw failure('outcome_unknown', message, { settled: false, retry: true });
          }
          await paidCalls.settle(claim, { billed: false, reason: error.name });
          throw failure('provider_refused', `${error.message} Nothing was billed.`, {
            settled: true,
            retry: error.retry,
          });
        }
        const { costUsd, usage, result } = done;
        await paidCalls.settle(claim, { billed: true, costUsd: parseAmountUsd(costUsd), usage, result });
        return result;
      });
    },
    async close() {
      await decisions?.close();
      await coalescer.drain();
      await looked.catch(() => undefined);
      await pool.end();
    },
  };
}
