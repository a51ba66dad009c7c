/** Paid steps against bare ones, and the decision alone, inside one worker process. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import type { PaidCalls } from '../../activities/budget/paid-calls';
import type { ReserveCommand } from '../../core/budget/commands';
import { createPool } from '../../store/pool';
import { createLog } from '../../telemetry/log';
import { startTelemetry } from '../../telemetry/start';
import { workerConfig } from '../../workers/config';
import { bundleWorkflows, startWorkers, type RunningWorkers } from '../../workers/workers';
import { taskQueues } from '../../contracts/messages';
import type { AuthorityBench } from './authority';
import { benchTenant } from './bench-tenant';
import { median, quantile, type Print } from './report';
import type { BenchActivities, BenchRunInput } from './workflows';

const stepsOfOneRun = 40;
const concurrentRuns = 20;
const stepsOfEachRun = 20;
const decisions = 300;
/** How long the stand-in for a provider takes. */
const providerMs = 5;
const taskQueuePrefix = 'bench-steps';

/** A bare step is an activity of Temporal's as anybody has it; a budgeted one is as the product's paid calls are. */
const bareStep = { budgeted: false, queue: 'own' } as const;
const budgetedStep = { budgeted: true, queue: 'calls' } as const;
/** What of the difference is the queue's: its tasks are not dispatched eagerly. */
const bareStepOfCalls = { budgeted: false, queue: 'calls' } as const;

interface Bench {
  repetitions: number;
  run: (input: Omit<BenchRunInput, 'tenantId'>) => Promise<number[]>;
  workers: RunningWorkers;
  tenantId: string;
  print: Print;
}

export async function measureSteps(
  {
    databaseUrl,
    temporalAddress,
    repetitions,
  }: Pick<AuthorityBench, 'databaseUrl' | 'temporalAddress' | 'repetitions'>,
  print: Print,
): Promise<void> {
  const telemetry = startTelemetry('bench');
  const workers = await startWorkers({
    config: workerConfig({
      DATABASE_URL: databaseUrl,
      TEMPORAL_ADDRESS: temporalAddress,
      SPENDLOCK_TASK_QUEUES: 'runs,budget',
      SPENDLOCK_TASK_QUEUE_PREFIX: taskQueuePrefix,
      SPENDLOCK_MANDATES: process.env.SPENDLOCK_MANDATES,
      ANTHROPIC_API_KEY: 'none',
    }),
    log: createLog({ name: 'bench', level: 'warn' }),
    telemetry,
    workflowBundle: await bundleWorkflows(telemetry, { path: require.resolve('./workflows') }),
    extraActivities: benchActivities,
  });
  const connection = await Connection.connect({ address: temporalAddress });
  const client = new Client({ connection, plugins: [telemetry.plugin] });
  const pool = createPool(databaseUrl);
  const tenantId = await benchTenant(pool, 'bench-steps');
  await pool.end();
  const run: Bench['run'] = (input) =>
    client.workflow.execute('benchRun', {
      workflowId: `bench/${randomUUID()}`,
      taskQueue: taskQueues(taskQueuePrefix).runs,
      args: [{ tenantId, ...input }],
    });
  const bench = { run, workers, tenantId, print, repetitions };
  await bench.run({ steps: 10, ...budgetedStep });
  await measureOneRun(bench);
  await measureDecisions(bench);
  await measureThroughput(bench);
  await workers.shutdown();
  await connection.close();
}

/** The measured activity. Budgeted, it does what every paid activity does around its call. */
const benchActivities = ({ paidCalls }: { paidCalls: PaidCalls }): BenchActivities => ({
  async benchCall({ tenantId, operationId }) {
    const claim = operationId === undefined ? undefined : await paidCalls.claim({ tenantId, operationId });
    await sleep(providerMs);
    if (claim) await paidCalls.settle(claim, { billed: true, costUsd: 8_000_000_000n });
    return { costUsd: '0.008' };
  },
});

/** Steps of one run, one after the other. */
async function measureOneRun({ run, print, repetitions }: Bench): Promise<void> {
  const bare: number[] = [];
  const bareOfCalls: number[] = [];
  const budgeted: number[] = [];
  for (let repetition = 0; repetition < repetitions; repetition += 1) {
    bare.push(median(await run({ steps: stepsOfOneRun, ...bareStep })));
    bareOfCalls.push(median(await run({ steps: stepsOfOneRun, ...bareStepOfCalls })));
    budgeted.push(median(await run({ steps: stepsOfOneRun, ...budgetedStep })));
  }
  const about = { repetitions, steps: stepsOfOneRun };
  print('step.bare_ms', median(bare), 'ms', about);
  print('step.budgeted_ms', median(budgeted), 'ms', {
    ...about,
    overBareMs: Math.round((median(budgeted) - median(bare)) * 100) / 100,
    ofTheQueueMs: Math.round((median(bareOfCalls) - median(bare)) * 100) / 100,
  });
}

/** Reserves of one client that waits for each answer. */
async function measureDecisions({ workers, tenantId, print }: Bench): Promise<void> {
  const { coalescer, replies } = workers.budget;
  const tookMs: number[] = [];
  for (let index = 0; index < decisions; index += 1) {
    const command: ReserveCommand = {
      type: 'reserve',
      operationId: randomUUID(),
      resource: 'llm',
      amountUsd: '0.01',
      priceVersion: 'bench',
      ttlSeconds: 300,
      kind: 'bench',
    };
    const startedMs = performance.now();
    const answer = replies.wait(tenantId, command, 10_000);
    await coalescer.send(tenantId, command);
    if ((await answer)?.decision !== 'granted') throw new Error('A decision of the benchmark was not a grant.');
    tookMs.push(performance.now() - startedMs);
  }
  for (const [name, share] of [
    ['p50', 0.5],
    ['p95', 0.95],
    ['p99', 0.99],
  ] as const) {
    print(`decision.${name}_ms`, quantile(tookMs, share), 'ms', { decisions });
  }
}

/** Steps a second of many runs at once. */
async function measureThroughput({ run, print, repetitions }: Bench): Promise<void> {
  const once = async (step: typeof bareStep | typeof budgetedStep): Promise<number> => {
    const startedMs = performance.now();
    await Promise.all(Array.from({ length: concurrentRuns }, () => run({ steps: stepsOfEachRun, ...step })));
    return (concurrentRuns * stepsOfEachRun * 1000) / (performance.now() - startedMs);
  };
  const bare: number[] = [];
  const budgeted: number[] = [];
  for (let repetition = 0; repetition < repetitions; repetition += 1) {
    bare.push(await once(bareStep));
    budgeted.push(await once(budgetedStep));
  }
  const about = { repetitions, runs: concurrentRuns };
  print('step.bare_per_second', median(bare), '1/s', about);
  const shareOfBare = Math.round((median(budgeted) / median(bare)) * 1000) / 1000;
  print('step.budgeted_per_second', median(budgeted), '1/s', { ...about, shareOfBare });
}
