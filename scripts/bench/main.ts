/**
 * Measures Spendlock on this machine: `npm run bench`. Prints one JSON object a line: {name, value, unit, …}. Services are
 * started for it, on loopback, and end with it. Bare and budgeted runs take turns, so that a busy machine slows both.
 */
import { randomUUID } from 'node:crypto';
import { chmod, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import { DefaultLogger, Runtime } from '@temporalio/worker';
import type { PaidStep } from '../../activities/budget/paid-step';
import type { ReserveCommand } from '../../core/commands';
import { createPool } from '../../store/pool';
import { createTenant, setQuotas } from '../../store/tenants';
import { createLog } from '../../telemetry/log';
import { startTracing } from '../../telemetry/tracing';
import { workerConfig } from '../../workers/config';
import { bundleWorkflows, startWorkers, type RunningWorkers } from '../../workers/workers';
import { taskQueues } from '../../workflows/messages';
import { startServices } from '../embedded/services';
import { appUrlFor, migrate, randomPassword } from '../migrate';
import { measureStarts } from './starts';
import type { BenchActivities, BenchRunInput } from './workflows';

const repetitions = 5;
const stepsOfOneRun = 40;
const concurrentRuns = 20;
const stepsOfEachRun = 20;
const decisions = 300;
/** How long the stand-in for a provider takes. */
const providerMs = 5;

const print = (name: string, value: number, unit: string, more: object = {}): void =>
  console.log(JSON.stringify({ name, value: Math.round(value * 100) / 100, unit, ...more }));

/** The value below which a share of the sample lies. */
function quantile(sample: readonly number[], share: number): number {
  const sorted = [...sample].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN;
}
const median = (sample: readonly number[]): number => quantile(sample, 0.5);

/** The measured activity. Budgeted, it does what every paid activity does around its call. */
const benchActivities = ({ paidStep }: { paidStep: PaidStep }): BenchActivities => ({
  async benchCall({ tenantId, operationId }) {
    const claim = operationId === undefined ? undefined : await paidStep.claim({ tenantId, operationId });
    await sleep(providerMs);
    if (claim) await paidStep.settle(claim, { billed: true, costUsd: 8_000_000_000n });
    return { costUsd: '0.008' };
  },
});

interface Bench {
  run: (input: Omit<BenchRunInput, 'tenantId'>) => Promise<number[]>;
  workers: RunningWorkers;
  tenantId: string;
}

async function main(): Promise<void> {
  if (process.argv.includes('--help')) {
    console.log(
      'Measures Spendlock on this machine; one JSON object a line.\n\n  --no-starts   leave out start.cold_seconds and start.warm_seconds\n\nExample: npm run bench',
    );
    return;
  }
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  await withBench(async (bench) => {
    await bench.run({ steps: 10, budgeted: true });
    await measureSteps(bench);
    await measureDecisions(bench);
    await measureThroughput(bench);
  });
  if (!process.argv.includes('--no-starts'))
    for (const { name, seconds } of await measureStarts()) print(name, seconds, 's', { repetitions: 1 });
}

async function withBench(work: (bench: Bench) => Promise<void>): Promise<void> {
  const dataDir = await mkdtemp(path.join(tmpdir(), 'spendlock-bench-'));
  await chmod(dataDir, 0o711);
  const services = await startServices({ dataDir, ports: { postgres: 0, temporal: 0 }, ephemeral: true });
  try {
    const appPassword = randomPassword();
    await migrate({ adminUrl: services.postgres.adminUrl, appPassword });
    const databaseUrl = appUrlFor(services.postgres.adminUrl, appPassword);
    const { address } = services.temporal;
    const tracing = startTracing('bench');
    const workers = await startWorkers({
      config: workerConfig({
        DATABASE_URL: databaseUrl,
        TEMPORAL_ADDRESS: address,
        SPENDLOCK_TASK_QUEUES: 'runs,budget',
        ANTHROPIC_API_KEY: 'none',
      }),
      log: createLog({ name: 'bench', level: 'warn' }),
      tracing,
      workflowBundle: await bundleWorkflows(tracing, require.resolve('./workflows')),
      extraActivities: benchActivities,
    });
    const connection = await Connection.connect({ address });
    const client = new Client({ connection, plugins: [tracing.plugin] });
    const tenantId = await benchTenant(databaseUrl);
    const run: Bench['run'] = (input) =>
      client.workflow.execute('benchRun', {
        workflowId: `bench/${randomUUID()}`,
        taskQueue: taskQueues('spendlock').runs,
        args: [{ tenantId, ...input }],
      });
    await work({ run, workers, tenantId });
    await workers.shutdown();
    await connection.close();
  } finally {
    await services.stop();
  }
}

async function benchTenant(databaseUrl: string): Promise<string> {
  const pool = createPool(databaseUrl);
  const tenantId = 'bench';
  await createTenant(pool, { tenantId });
  const quota = { scope: 'tenant' as const, scopeId: tenantId, period: 'month' as const, limitUsd: '100000' };
  await setQuotas(pool, {
    tenantId,
    changes: [
      { ...quota, resourceType: 'all' },
      { ...quota, resourceType: 'llm' },
    ],
  });
  await pool.end();
  return tenantId;
}

/** Steps of one run, one after the other. */
async function measureSteps({ run }: Bench): Promise<void> {
  const bare: number[] = [];
  const budgeted: number[] = [];
  for (let repetition = 0; repetition < repetitions; repetition += 1) {
    bare.push(median(await run({ steps: stepsOfOneRun, budgeted: false })));
    budgeted.push(median(await run({ steps: stepsOfOneRun, budgeted: true })));
  }
  const about = { repetitions, steps: stepsOfOneRun };
  print('step.bare_ms', median(bare), 'ms', about);
  print('step.budgeted_ms', median(budgeted), 'ms', {
    ...about,
    overBareMs: Math.round((median(budgeted) - median(bare)) * 100) / 100,
  });
}

/** Reserves of one client that waits for each answer. */
async function measureDecisions({ workers, tenantId }: Bench): Promise<void> {
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
async function measureThroughput({ run }: Bench): Promise<void> {
  const once = async (budgeted: boolean): Promise<number> => {
    const startedMs = performance.now();
    await Promise.all(Array.from({ length: concurrentRuns }, () => run({ steps: stepsOfEachRun, budgeted })));
    return (concurrentRuns * stepsOfEachRun * 1000) / (performance.now() - startedMs);
  };
  const bare: number[] = [];
  const budgeted: number[] = [];
  for (let repetition = 0; repetition < repetitions; repetition += 1) {
    bare.push(await once(false));
    budgeted.push(await once(true));
  }
  const about = { repetitions, runs: concurrentRuns };
  print('step.bare_per_second', median(bare), '1/s', about);
  const shareOfBare = Math.round((median(budgeted) / median(bare)) * 1000) / 1000;
  print('step.budgeted_per_second', median(budgeted), '1/s', { ...about, shareOfBare });
}

main().then(
  () => process.exit(),
  (error: unknown) => {
    console.error(
      `The benchmark did not finish. ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    );
    process.exit(1);
  },
);
