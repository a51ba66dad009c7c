/** Wires the activities to their dependencies and runs the Temporal workers of a process. */
import path from 'node:path';
import { setFlagsFromString } from 'node:v8';
import type { DataConverter } from '@temporalio/common';
import { Client } from '@temporalio/client';
import {
  bundleWorkflowCode,
  NativeConnection,
  Worker,
  type WorkerOptions,
  type WorkflowBundleOption,
  type WorkflowBundleWithSourceMap,
} from '@temporalio/worker';
import { Coalescer } from '../authority/client/coalescer';
import { createDecideBatch } from '../authority/decide';
import { Mandates } from '../authority/mandates';
import { directDecisions } from '../authority/client/direct-pool';
import { PendingReplies } from '../authority/client/pending-replies';
import { TemporalSignals } from '../authority/client/signals';
import type { PaidCalls, FaultPoint } from '../activities/budget/paid-calls';
import { heartbeatMs } from '../activities/heartbeat';
import { logNotifications, type NotificationService } from '../activities/notify/alerts';
import { AlertSender } from '../activities/notify';
import { allOf, webhookNotifications } from '../activities/notify/webhook';
import { readReservations } from '../store/decided';
import { createPool, type Pool } from '../store/pool';
import { readQuotaGauges } from '../store/quota-gauges';
import { tellBy } from '../store/run-tells';
import { countRunningSandboxes } from '../store/sandboxes';
import type { Logger } from '../telemetry/log';
import { observe } from '../telemetry/metrics';
import type { Telemetry } from '../telemetry/start';
import { taskQueues } from '../contracts/messages';
import { activitiesOf, type WorkerQueue } from './activities';
import type { WorkerConfig, WorkerRole } from './config';
import { keptBundle } from './kept-bundle';
import { ensureSchedules } from './schedules';
import { ensureSearchAttributes } from '../temporal/search-attributes';

const workflowsPath = require.resolve('../workflows');

export interface StartWorkersOptions {
  config: WorkerConfig;
  log: Logger;
  telemetry: Telemetry;
  /** Made once and shared by those that start several sets of workers; bundled when absent. */
  workflowBundle?: WorkflowBundleOption;
  notifications?: NotificationService;
  /** Where tests stop, kill or delay the process. */
  atPoint?: (point: FaultPoint) => Promise<void> | void;
  /** More options for each Temporal worker, for tests and benchmarks. */
  workerOptions?: Partial<WorkerOptions>;
  /** More activities on the runs queue, for benchmarks: they are given what paid activities need. */
  extraActivities?: (dependencies: { paidCalls: PaidCalls }) => object;
}

export interface RunningWorkers {
  /** How this process asks for money, for callers beside its workflows. */
  budget: { coalescer: Coalescer; replies: PendingReplies };
  /** Takes no more work, lets activities end, then closes every connection. */
  shutdown(): Promise<void>;
  /** Rejects when a worker fails; resolves after a shutdown. */
  readonly finished: Promise<void>;
}

/** Bundles the workflows with the interceptors that every recorded history has seen. */
export const bundleWorkflows = (
  { plugin }: Telemetry,
  { path = workflowsPath, dataConverter }: { path?: string; dataConverter?: DataConverter | undefined } = {},
): Promise<WorkflowBundleWithSourceMap> => {
  const failureConverterPath = dataConverter?.failureConverterPath;
  return bundleWorkflowCode({
    workflowsPath: path,
    payloadConverterPath: require.resolve('../workflows/payload-converter'),
    plugins: [plugin],
    logger: quiet,
    ...(failureConverterPath === undefined ? {} : { failureConverterPath }),
  });
};

/** The bundle that a worker starts with: that of the start before, when nothing has changed that it is made of. */
export async function bundleOfStart(
  telemetry: Telemetry,
  { dataConverter }: Pick<WorkerConfig, 'dataConverter'>,
): Promise<{ code: string }> {
  const root = path.join(__dirname, '..');
  const origin = {
    root,
    // What workflows may import, which lint holds them to, and the converter of failures of an installation that encrypts.
    folders: ['core', 'contracts', 'workflows', 'temporal'],
    options: String(dataConverter?.failureConverterPath),
  };
  return { code: await keptBundle(origin, async () => (await bundleWorkflows(telemetry, { dataConverter })).code) };
}

const ignore = (): void => undefined;
const quiet = { log: ignore, trace: ignore, debug: ignore, info: ignore, warn: ignore, error: ignore };

/**
 * Temporal's worker captures a stack trace for each promise of a workflow, which was half of what workflow code costs.
 * This many frames still name where an error came from. The flag is read when a context is made: the stacks of this
 * process's own code keep their length.
 */
const workflowStackFrames = 2;
/**
 * A workflow task that takes longer is stopped, and stopping one in the middle of its promises ends the process. On a
 * busy machine a long history takes its time without being stuck; the server gives a task 10 s in any case. The option is one
 * of the worker's, but not of its type.
 */
const patience: object = { isolateExecutionTimeout: '60 seconds' };
/**
 * Each promise of a workflow costs a little for every other workflow that its thread has in memory (Node 20 hands the stores of
 * all of them on), and there is an authority for each tenant. So these share the tenants out.
 */
const authorityThreads = 4;
/** How many threads the workflows of a queue have; undefined where it has none. */
const threadsOf = (queue: WorkerQueue, { runThreads }: WorkerConfig): number | undefined =>
  queue === 'runs' ? runThreads : queue === 'budget' ? authorityThreads : undefined;
/**
 * Workflow tasks of runs at once. They share a few threads, so a turn waits for as many others as there are; and each waits for its decision
 * meanwhile, so with few the threads have nothing to do (docs/decisions/0054).
 */
const runTasksMax = 20;
/** What each role serves. */
const queuesOf: Record<WorkerRole, WorkerQueue[]> = {
  runs: ['runs', 'calls', 'turns'],
  budget: ['budget'],
  sandbox: ['sandbox'],
};

/**
 * A worker with a build id is a version of the installation's deployment: Temporal gives it work once it is made the current one
 * (`npx spendlock workers promote`). Workflows that live long go on under it; agent runs stay with the version that began them.
 */
const versionOf = ({ buildId, taskQueuePrefix }: WorkerConfig): Pick<WorkerOptions, 'workerDeploymentOptions'> =>
  buildId === undefined
    ? {}
    : {
        workerDeploymentOptions: {
          version: { deploymentName: taskQueuePrefix, buildId },
          useWorkerVersioning: true,
          defaultVersioningBehavior: 'AUTO_UPGRADE',
        },
      };

/** Pieces of replies come many times a second, and who waits for a decision or a settlement waits for none of them; nor do those who are told of events. */
function poolOfPieces(databaseUrl: string, pool: Pool): Pool {
  const piecesPool = createPool(databaseUrl, { application_name: 'spendlock-replies', max: 2 });
  tellBy(pool, piecesPool);
  return piecesPool;
}

/** Starts the workers of the configured roles in this process. */
export async function startWorkers(options: StartWorkersOptions): Promise<RunningWorkers> {
  setFlagsFromString(`--stack-trace-limit=${workflowStackFrames}`);
  const { config, log, telemetry } = options;
  const { connection: server, namespace } = config.temporal;
  const { address } = server;
  const converting = config.dataConverter === undefined ? {} : { dataConverter: config.dataConverter };
  const connection = await NativeConnection.connect(server);
  await ensureSearchAttributes(connection, { namespace, log });
  const client = new Client({ connection, namespace, ...converting, plugins: [telemetry.plugin] });
  const pool = createPool(config.databaseUrl, { application_name: 'spendlock-worker', max: config.databasePoolSize });
  const queues = taskQueues(config.taskQueuePrefix);
  const coalescer = new Coalescer({ signals: new TemporalSignals({ client, taskQueue: queues.budget }) });
  const replies = new PendingReplies({ read: (asked) => readReservations(pool, asked), log });
  const { notifications = notificationsOf(options) } = options;
  const alerts = new AlertSender({ pool, notifications, log });
  const { decideBatch, drainAnswers } = createDecideBatch({
    pool,
    client,
    log,
    enforced: config.enforced,
    mandates: config.mandates ? new Mandates() : undefined,
    replies,
    holdBack: (tenantId) => coalescer.holdBack(tenantId),
    alertsRaised: () => alerts.wake(),
  });
  const decisions = config.mandates ? directDecisions({ pool, ...config, coalescer, log }) : undefined;
  const piecesPool = poolOfPieces(config.databaseUrl, pool);
  const asking = { coalescer, replies, decisions, decideBatch };
  const activities = activitiesOf({ options, pool, piecesPool, client, alerts, ...asking });
  const needsWorkflows = config.roles.some((role) => role !== 'sandbox');
  const workflowBundle = needsWorkflows
    ? (options.workflowBundle ?? (await bundleOfStart(telemetry, config)))
    : undefined;

  const create = (queue: WorkerQueue): Promise<Worker> => {
    const threads = threadsOf(queue, config);
    return Worker.create({
      connection,
      namespace,
      taskQueue: queues[queue],
      activities: activities[queue],
      ...(threads !== undefined && workflowBundle ? { workflowBundle, workflowThreadPoolSize: threads } : {}),
      ...(queue === 'runs' ? { maxConcurrentWorkflowTaskExecutions: runTasksMax } : {}),
      ...(queue === 'calls' || queue === 'turns' ? { maxConcurrentActivityTaskExecutions: config.callSlots } : {}),
      ...converting,
      ...versionOf(config),
      plugins: [telemetry.plugin],
      ...patience,
      shutdownGraceTime: `${config.shutdownSeconds} seconds`,
      // A cancelled model call is told within about five seconds.
      maxHeartbeatThrottleInterval: heartbeatMs,
      defaultHeartbeatThrottleInterval: heartbeatMs,
      ...options.workerOptions,
    });
  };
  observe({
    activeSandboxes: () => countRunningSandboxes(pool),
    quotas: (max) => readQuotaGauges(pool, max),
    backlog: () => coalescer.size,
  });
  const workers = await Promise.all(config.roles.flatMap((role) => queuesOf[role]).map(create));
  if (config.roles.includes('budget')) {
    await ensureSchedules(client, { taskQueue: queues.budget, log });
    // What a process that ended had left.
    alerts.wake();
  }
  const running = Promise.all(workers.map((worker) => worker.run()));
  log.info({ roles: config.roles, address, namespace, buildId: config.buildId }, 'worker started');

  const finished = running
    .then(() => undefined)
    .finally(async () => {
      await decisions?.close();
      await coalescer.drain();
      await drainAnswers();
      await alerts.stop();
      await piecesPool.end();
      await pool.end();
      await connection.close();
    });
  finished.catch(() => undefined);
  return {
    budget: { coalescer, replies },
    finished,
    async shutdown() {
      for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
      await finished;
    },
  };
}

/** The log, and before it the webhook where there is one. */
function notificationsOf({ config, log }: StartWorkersOptions): NotificationService {
  const { alertWebhook } = config;
  return allOf([...(alertWebhook ? [webhookNotifications(alertWebhook)] : []), logNotifications(log)]);
}
