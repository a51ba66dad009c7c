/**
 * How the authority holds up: very many decisions on one tenant, across continue-as-news; and very many tenants at once, whose
 * authorities are cold, then warm.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import { createApiKey } from '../../store/api-keys';
import { setPolicy } from '../../store/operator-changes';
import { asTenant, createPool, type Pool } from '../../store/pool';
import { budgetWorkflowId } from '../../contracts/messages';
import type { AuthorityBench } from './authority';
import { benchTenant } from './bench-tenant';
import { BenchProcesses } from './processes';
import { perThing, printProcessorMs, processorMs, type Part } from './processor-time';
import { plainSignalsMs } from './plain-signals';
import { quantile, type Print } from './report';

const decisions = 100_000;
const tenths = 10;
const clients = 200;
const tenantCounts = [1_000];
const decisionsEach = 5;
/** Longer than anybody waits here: what is measured is when the answer comes, not that one gives up. */
const answerTimeoutMs = 120_000;

export async function measureScale(
  { databaseUrl, temporalAddress, services }: AuthorityBench,
  print: Print,
): Promise<void> {
  const pool = createPool(databaseUrl);
  const connection = await Connection.connect({ address: temporalAddress });
  const processes = new BenchProcesses();
  try {
    const worker = await processes.startWorker(databaseUrl, temporalAddress);
    const { api, url } = await processes.startApi({ backend: 'authority', databaseUrl, address: temporalAddress });
    const parts = { ...services, worker: { pid: worker.pid ?? 0 }, api: { pid: api.pid ?? 0 } };
    const temporal = new Client({ connection });
    for (const count of tenantCounts) {
      const plainMs = await plainSignalsMs(temporal, { temporalAddress, workflows: count, each: decisionsEach });
      await measureTenants({ processes, pool, url, count, parts, plainMs }, print);
    }
    await measureEndurance({ processes, pool, url, temporal }, print);
  } finally {
    await processes.stop();
    await connection.close();
    await pool.end();
  }
}

/** Every tenant asks for several decisions at the same moment. */
async function measureTenants(
  {
    processes,
    pool,
    url,
    count,
    parts,
    plainMs,
  }: {
    processes: BenchProcesses;
    pool: Pool;
    url: string;
    count: number;
    parts: Record<string, Part>;
    /** How long as many plain signals took. */
    plainMs: number[];
  },
  print: Print,
): Promise<void> {
  const tenantIds = Array.from({ length: count }, (_, index) => `bench-crowd-${count}-${index}`);
  for (const tenantId of tenantIds) await benchTenant(pool, tenantId);
  await setAnswerTimeouts(pool, tenantIds);
  const { key } = await createApiKey(pool, { label: 'bench' });
  const load = await processes.startLoad();
  print('tenants.plain_signals_max_wait_ms', Math.max(...plainMs), 'ms', {
    workflows: count,
    signalsEach: decisionsEach,
    repetitions: 1,
  });
  for (const state of ['cold', 'warm']) {
    const before = processorMs(parts);
    const { waitedMs, seconds } = await processes.load(load, { url, key, tenantIds, each: decisionsEach });
    const after = processorMs(parts);
    const about = { tenants: count, decisionsEach, repetitions: 1 };
    print(`tenants.${state}_max_wait_ms`, Math.max(...waitedMs), 'ms', {
      ...about,
      overPlainSignals: Math.round((Math.max(...waitedMs) / Math.max(...plainMs)) * 100) / 100,
    });
    print(`tenants.${state}_p50_wait_ms`, quantile(waitedMs, 0.5), 'ms', about);
    print(`tenants.${state}_decisions_per_second`, (count * decisionsEach) / seconds, '1/s', about);
    if (before && after)
      printProcessorMs(print, `tenants.${state}_cpu_ms_per_tenant`, perThing(before, after, count), about);
  }
}

async function setAnswerTimeouts(pool: Pool, tenantIds: readonly string[]): Promise<void> {
  const policy = { onUnavailable: 'wait' as const, answerTimeoutMs };
  for (const tenantId of tenantIds) await setPolicy(pool, { tenantId, by: { author: 'bench' }, policy });
}

/** One tenant, a closed loop that never pauses, in tenths of the same size. */
async function measureEndurance(
  { processes, pool, url, temporal }: { processes: BenchProcesses; pool: Pool; url: string; temporal: Client },
  print: Print,
): Promise<void> {
  const tenantId = await benchTenant(pool, 'bench-endurance');
  const { key } = await createApiKey(pool, { tenantId, label: 'bench' });
  const load = await processes.startLoad();
  await processes.load(load, { urls: [url], key, clients, until: { pairs: 2_000 } });
  const perSecond: number[] = [];
  for (let tenth = 0; tenth < tenths; tenth += 1) {
    const { pairs, seconds } = await processes.load(load, {
      urls: [url],
      key,
      clients,
      until: { pairs: decisions / tenths },
    });
    perSecond.push(pairs / seconds);
  }
  const [first = NaN] = perSecond;
  const last = perSecond[tenths - 1] ?? NaN;
  const about = { decisions, clients, repetitions: 1 };
  print('endurance.pairs_per_second', last, '1/s', {
    ...about,
    lastToFirst: Math.round((last / first) * 100) / 100,
    ofEachTenth: perSecond.map(Math.round),
  });
  const { executions, eventsMax } = await executionsOf(temporal, tenantId);
  print('endurance.history_events_max', eventsMax, 'events', { ...about, executions });
  await checkLedger(pool, { tenantId, pairs: decisions + 2_000 });
}

/** How often the authority continued as new, and its longest history. */
async function executionsOf(temporal: Client, tenantId: string): Promise<{ executions: number; eventsMax: number }> {
  let executions = 0;
  let eventsMax = 0;
  const workflowId = budgetWorkflowId(tenantId);
  for await (const { runId } of temporal.workflow.list({ query: `WorkflowId = '${workflowId}'` })) {
    const { historyLength } = await temporal.workflow.getHandle(workflowId, runId).describe();
    executions += 1;
    eventsMax = Math.max(eventsMax, historyLength);
  }
  return { executions, eventsMax };
}

/** No signal lost: the ledger has one line for each pair. */
async function checkLedger(pool: Pool, { tenantId, pairs }: { tenantId: string; pairs: number }): Promise<void> {
  for (let tries = 0; tries < 100; tries += 1) {
    const found = await asTenant(pool, tenantId, async (client) => {
      const { rows } = await client.query<{ entries: number }>(
        'SELECT count(*)::integer AS entries FROM copilot_internal.cost_records WHERE tenant_id = $1',
        [tenantId],
      );
      return rows[0]?.entries;
    });
    if (found === pairs) return;
    await sleep(100);
  }
  throw new Error(`The ledger of ${tenantId} does not have the ${pairs} lines that its clients made.`);
}
