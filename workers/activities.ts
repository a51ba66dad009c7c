/** The activities of each task queue, with what they need. */
import type { Client } from '@temporalio/client';
import { createBudgetActivities } from '../activities/budget';
import { PaidCalls, type FaultPoint } from '../activities/budget/paid-calls';
import { createLlmActivities } from '../activities/llm';
import { modelProviders } from '../activities/llm/providers';
import { ReplyFeed } from '../activities/llm/reply-feed';
import type { AlertSender } from '../activities/notify';
import { createRunActivities } from '../activities/runs';
import { createSandboxActivities } from '../activities/sandbox';
import { createUpkeepActivities } from '../activities/upkeep';
import { createRetentionActivities } from '../activities/upkeep/retention';
import type { Coalescer } from '../authority/client/coalescer';
import type { directDecisions } from '../authority/client/direct-pool';
import type { PendingReplies } from '../authority/client/pending-replies';
import type { createDecideBatch } from '../authority/decide';
import { createLeaseActivities } from '../authority/leases';
import { createLeaveBehind } from '../authority/left-behind';
import { createWakeWaiters } from '../authority/waiters';
import { DatabaseClock } from '../store/database-clock';
import type { Pool } from '../store/pool';
import { readPrices } from '../store/prices';
import type { Logger } from '../telemetry/log';
import type { LlmActivities } from '../contracts/llm';
import type { taskQueues } from '../contracts/messages';
import type { WorkerConfig } from './config';

export type WorkerQueue = keyof ReturnType<typeof taskQueues>;

interface Wiring {
  options: {
    config: WorkerConfig;
    log: Logger;
    atPoint?: (point: FaultPoint) => Promise<void> | void;
    extraActivities?: (dependencies: { paidCalls: PaidCalls }) => object;
  };
  pool: Pool;
  /** For pieces of replies on their way. */
  piecesPool: Pool;
  client: Client;
  coalescer: Coalescer;
  replies: PendingReplies;
  decisions: ReturnType<typeof directDecisions> | undefined;
  decideBatch: ReturnType<typeof createDecideBatch>['decideBatch'];
  alerts: AlertSender;
}

/** The activities of each queue. */
export function activitiesOf({
  options,
  pool,
  piecesPool,
  client,
  coalescer,
  replies,
  decisions,
  decideBatch,
  alerts,
}: Wiring): Record<WorkerQueue, object> {
  const { config, log, atPoint } = options;
  const { codeLanguages } = config;
  const prices = () => readPrices(pool);
  const direct = decisions?.direct;
  const paidCalls = new PaidCalls({ pool, coalescer, direct, log, atPoint });
  const feed = new ReplyFeed({ pool: piecesPool, log });
  const providers = modelProviders(config.models);
  const llm = createLlmActivities({
    pool,
    providers,
    prices,
    paidCalls,
    log,
    codeLanguages,
    feed,
    streamIdleMs: config.streamIdleSeconds * 1000,
  });
  const extra = options.extraActivities?.({ paidCalls });
  const calls: Pick<LlmActivities, 'callModel' | 'compactContext'> = {
    callModel: (request) => llm.callModel(request),
    compactContext: (request) => llm.compactContext(request),
    ...extra,
  };
  return {
    calls,
    turns: calls,
    runs: {
      ...createBudgetActivities({
        ...{ pool, coalescer, replies, direct, log },
        enforced: config.enforced,
        alertsRaised: () => alerts.wake(),
      }),
      // Its paid calls too: workers of the version before still ask for them here.
      ...llm,
      ...createRunActivities({ pool, coalescer, log }),
      ...extra,
    },
    budget: {
      decideBatch,
      nextTask: () => Promise.resolve(),
      leaveBehind: createLeaveBehind({ pool, client, log }),
      wakeWaiters: createWakeWaiters({ pool, client, log }),
      sendAlerts: () => Promise.resolve(alerts.wake()),
      ...createLeaseActivities({ pool }),
      ...createUpkeepActivities({ pool, client, coalescer, alerts, log }),
      ...createRetentionActivities({ pool, log, keep: config.keep }),
    },
    sandbox: createSandboxActivities({
      pool,
      connection: config.e2b,
      prices,
      paidCalls,
      clock: new DatabaseClock(pool),
      log,
      codeLanguages,
      tools: config.tools,
      sweepMinAgeMs: config.sweepMinAgeSeconds * 1000,
    }),
  };
}
