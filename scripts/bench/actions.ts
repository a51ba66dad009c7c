/** Billable actions of what the product does: from histories, and heartbeats from what the worker asks of the server. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import type { History } from '@temporalio/common/lib/proto-utils';
import type { PaidCalls } from '../../activities/budget/paid-calls';
import { withHeartbeats } from '../../activities/heartbeat';
import { createSpendlockClient, type SpendlockClient } from '../../client';
import { createApiKey } from '../../store/api-keys';
import { createPool } from '../../store/pool';
import { createLog } from '../../telemetry/log';
import { startTelemetry } from '../../telemetry/start';
import { workerConfig } from '../../workers/config';
import { bundleWorkflows, startWorkers } from '../../workers/workers';
import { budgetWorkflowId, defaultTaskQueuePrefix, taskQueues } from '../../contracts/messages';
import { startAnthropicStandIn, startE2bStandIn } from '../stand-ins';
import type { AuthorityBench } from './authority';
import { benchTenant } from './bench-tenant';
import { billableActions, kinds, noActions, sumOf, type Actions } from './billable';
import { BenchProcesses } from './processes';
import type { Print } from './report';
import type { BenchActivities, BenchRunInput } from './workflows';

/** How long the measured step takes. */
const stepMs = 15_000;
const steps = 8;
const pairs = 50;
const rounds = 10;
const daysOfMonth = 30;

interface Bench {
  temporal: Client;
  client: SpendlockClient;
  tenantId: string;
  /** Where Temporal's SDK in this process says what it has asked of the server. */
  metricsUrl: string;
  print: Print;
}

export async function measureActions(
  { databaseUrl, temporalAddress }: AuthorityBench,
  print: Print,
  metricsUrl: string,
): Promise<void> {
  const anthropic = await startAnthropicStandIn();
  const e2b = await startE2bStandIn({ allowedCode: anthropic.emittedCode });
  const telemetry = startTelemetry('bench');
  const workers = await startWorkers({
    config: workerConfig({
      DATABASE_URL: databaseUrl,
      TEMPORAL_ADDRESS: temporalAddress,
      SPENDLOCK_MANDATES: process.env.SPENDLOCK_MANDATES,
      ANTHROPIC_API_KEY: 'stand-in',
      ANTHROPIC_BASE_URL: anthropic.url,
      E2B_API_KEY: 'stand-in',
      E2B_API_URL: e2b.url,
      E2B_SANDBOX_URL: e2b.url,
      SPENDLOCK_CODE_LANGUAGES: 'javascript',
    }),
    log: createLog({ name: 'bench', level: 'warn' }),
    telemetry,
    workflowBundle: await bundleWorkflows(telemetry, { path: require.resolve('./workflows') }),
    extraActivities: slowActivities,
  });
  const processes = new BenchProcesses();
  const connection = await Connection.connect({ address: temporalAddress });
  const pool = createPool(databaseUrl);
  try {
    const tenantId = await benchTenant(pool, 'bench-actions');
    const { url } = await processes.startApi({ backend: 'authority', databaseUrl, address: temporalAddress });
    const { key } = await createApiKey(pool, { tenantId });
    const client = createSpendlockClient({ baseUrl: url, apiKey: key });
    const temporal = new Client({ connection, plugins: [telemetry.plugin] });
    const bench = { temporal, client, tenantId, metricsUrl, print };
    await measureStep(bench);
    anthropic.knobs.replies = [{ text: '', code: 'console.log(6 * 7)' }, { text: 'It is 42.' }];
    await measureRun(bench);
    await measurePairs(bench);
    await measureIdle(bench);
  } finally {
    await processes.stop();
    await workers.shutdown();
    await Promise.all([anthropic.stop(), e2b.stop(), pool.end(), connection.close()]);
  }
}

/** A paid activity as any other, which takes its time. */
const slowActivities = ({ paidCalls }: { paidCalls: PaidCalls }): BenchActivities => ({
  benchCall: ({ tenantId, operationId = '' }) =>
    withHeartbeats(async () => {
      const claim = await paidCalls.claim({ tenantId, operationId });
      await sleep(stepMs);
      await paidCalls.settle(claim, { billed: true, costUsd: 8_000_000_000n });
      return { costUsd: '0.008' };
    }),
});

/** What several steps of one run are billed over a run without any, by step: what begins and ends a run is in both. */
async function measureStep(bench: Bench): Promise<void> {
  const actionsOf = async (steps: number): Promise<Counted> => {
    const input: BenchRunInput = { tenantId: bench.tenantId, steps, budgeted: true, queue: 'calls' };
    const workflowId = `bench/${randomUUID()}`;
    const { runs: taskQueue } = taskQueues(defaultTaskQueuePrefix);
    return counted(bench, workflowId, () =>
      bench.temporal.workflow.execute('benchRun', { workflowId, taskQueue, args: [input] }),
    );
  };
  // The first steps of a tenant open its mandate, which is no part of any other.
  await actionsOf(2);
  const [none, all] = [await actionsOf(0), await actionsOf(steps)];
  tell(bench.print, 'actions.step_of_15_s', perPart(minus(all, none), steps), {
    ...{ what: 'a budgeted step of 15 s, with what its tenant’s mandate costs meanwhile', steps },
  });
}

async function measureRun(bench: Bench): Promise<void> {
  const { client, temporal } = bench;
  let workflowId = '';
  const before = await authorityActions(bench);
  const beatsBefore = await heartbeats(bench);
  const started = await client.runs.start({ task: 'What is six times seven?' });
  ({ workflowId } = started);
  await temporal.workflow.getHandle(workflowId).result();
  await client.runs.get(started.runId);
  const own = billableActions(await temporal.workflow.getHandle(workflowId).fetchHistory());
  const authority = subtract(await authorityActions(bench), before);
  tell(
    bench.print,
    'actions.run',
    { actions: add(own, authority), heartbeats: (await heartbeats(bench)) - beatsBefore },
    { what: 'a run of two model calls and a program' },
  );
}

async function measurePairs(bench: Bench): Promise<void> {
  const before = await authorityActions(bench);
  for (let pair = 0; pair < pairs; pair += 1) {
    const { operationId } = await bench.client.reserve({ resource: 'llm', amountUsd: '0.01' });
    await bench.client.commit(operationId, { costUsd: '0.008' });
  }
  const actions = subtract(await authorityActions(bench), before);
  tell(bench.print, 'actions.http_pair', perPart({ actions, heartbeats: 0 }, pairs), {
    what: 'a reserve and its commit over HTTP, one client',
    pairs,
  });
}

/** Of what goes on for good, so many rounds; and what that makes of a month in which nobody does anything. */
async function measureIdle({ temporal, print }: Bench): Promise<void> {
  const upkeep = [
    ['lookAfter', 60],
    ['sweepSandboxes', 120],
    ['forgetOld', 3_600],
  ] as const;
  let month = 0;
  for (const [type, everySeconds] of upkeep) {
    const workflowId = `bench/${randomUUID()}`;
    const { firstExecutionRunId } = await temporal.workflow.start(type, {
      workflowId,
      taskQueue: taskQueues(defaultTaskQueuePrefix).budget,
      args: [{ everySeconds: 1, rounds }],
    });
    const handle = temporal.workflow.getHandle(workflowId);
    while ((await handle.describe()).runId === firstExecutionRunId) await sleep(200);
    await handle.terminate();
    const history = await temporal.workflow.getHandle(workflowId, firstExecutionRunId).fetchHistory();
    const perRound = (sumOf(billableActions(history)) - 1) / rounds;
    const times = (daysOfMonth * 86_400) / everySeconds;
    // Each execution is one start for so many rounds.
    month += times * (perRound + 1 / 240);
    print(`actions.${type}_round`, perRound, 'actions', { rounds, everySeconds });
  }
  print('actions.idle_month', month, 'actions', { days: daysOfMonth });
}

interface Counted {
  actions: Actions;
  heartbeats: number;
}

/** What a workflow and its tenant's authority were billed during some work. */
async function counted(bench: Bench, workflowId: string, work: () => Promise<unknown>): Promise<Counted> {
  const before = await authorityActions(bench);
  const beatsBefore = await heartbeats(bench);
  await work();
  const own = billableActions(await bench.temporal.workflow.getHandle(workflowId).fetchHistory());
  const authority = subtract(await authorityActions(bench), before);
  return { actions: add(own, authority), heartbeats: (await heartbeats(bench)) - beatsBefore };
}

/** Of all executions of the tenant's authority, once it rests. */
async function authorityActions({ temporal, tenantId }: Bench): Promise<Actions> {
  const workflowId = budgetWorkflowId(tenantId);
  let total = noActions();
  let runId: string | undefined = '';
  while (runId !== undefined) {
    const history: History | undefined = await temporal.workflow
      .getHandle(workflowId, runId || undefined)
      .fetchHistory()
      .catch(() => undefined);
    if (!history) return total;
    total = add(total, billableActions(history));
    runId = continuedFrom(history);
  }
  return total;
}

const continuedFrom = ({ events }: History): string | undefined =>
  events?.[0]?.workflowExecutionStartedEventAttributes?.continuedExecutionRunId || undefined;

/** Heartbeats that this process's workers have sent so far. */
async function heartbeats({ metricsUrl }: Bench): Promise<number> {
  // The last ones are counted a moment after they were answered.
  await sleep(500);
  const text = await (await fetch(metricsUrl)).text();
  const counts = text.matchAll(/^temporal_request\{[^}]*operation="RecordActivityTaskHeartbeat"[^}]*\} (\d+)$/gm);
  return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
}

const combine = (left: Actions, right: Actions, how: (left: number, right: number) => number): Actions => {
  const combined = noActions();
  for (const kind of kinds) combined[kind] = how(left[kind], right[kind]);
  return combined;
};
const add = (left: Actions, right: Actions): Actions => combine(left, right, (a, b) => a + b);
const subtract = (left: Actions, right: Actions): Actions => combine(left, right, (a, b) => a - b);
const minus = (left: Counted, right: Counted): Counted => ({
  actions: subtract(left.actions, right.actions),
  heartbeats: left.heartbeats - right.heartbeats,
});
const perPart = ({ actions, heartbeats: beats }: Counted, parts: number): Counted => ({
  actions: combine(actions, actions, (count) => count / parts),
  heartbeats: beats / parts,
});

function tell(print: Print, name: string, { actions, heartbeats: beats }: Counted, more: object): void {
  print(name, sumOf(actions) + beats, 'actions', { ...more, ...actions, heartbeats: beats });
}
