/**
 * The authority as callers outside Temporal meet it: reserve, answer, commit over HTTP, one tenant, clients in a closed
 * loop; and beside it, in turns, plain Postgres functions behind the same HTTP server. API, worker and clients are
 * processes of their own. Afterwards the books are compared with what the clients were told.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client as PgClient } from 'pg';
import { createApiKey } from '../../store/api-keys';
import { createPool, type Pool } from '../../store/pool';
import type { Backend } from './api-process';
import { benchTenant } from './bench-tenant';
import { amountUsd, costUsd } from './load-amounts';
import { BenchProcesses } from './processes';
import { perThing, printProcessorMs, processorMs, type Part, type ProcessorMs } from './processor-time';
import { median, quantile, type Print } from './report';

const backends: readonly Backend[] = ['authority', 'sql', 'sqlCoalesced'];
const warmUpMs = 1_000;
const measureMs = 3_000;

export interface AuthorityBench {
  adminUrl: string;
  databaseUrl: string;
  temporalAddress: string;
  services: Record<string, Part>;
  clientCounts: readonly number[];
  repetitions: number;
}

interface Sample {
  pairsPerSecond: number;
  reserveMs: number[];
  /** Processor time of each part for one pair; undefined where it cannot be told. */
  cpuMs: ProcessorMs | undefined;
}

export async function measureAuthority(
  { adminUrl, databaseUrl, temporalAddress, services, clientCounts, repetitions }: AuthorityBench,
  print: Print,
): Promise<void> {
  await runSql(adminUrl, await readFile(path.join(__dirname, 'plain-sql.sql'), 'utf8'));
  const pool = createPool(databaseUrl);
  const processes = new BenchProcesses();
  try {
    const tenantId = await benchTenant(pool, 'bench-authority');
    await pool.query('INSERT INTO plain.quotas (tenant_id, limit_usd) VALUES ($1, 1000000)', [tenantId]);
    const { key } = await createApiKey(pool, { tenantId, label: 'bench' });
    const worker = await processes.startWorker(databaseUrl, temporalAddress);
    const urls = new Map<Backend, string>();
    const parts = new Map<Backend, Record<string, Part>>();
    for (const backend of backends) {
      const { api, url } = await processes.startApi({ backend, databaseUrl, address: temporalAddress });
      urls.set(backend, url);
      parts.set(backend, { ...services, worker: { pid: worker.pid ?? 0 }, api: { pid: api.pid ?? 0 } });
    }
    const load = await processes.startLoad();

    const pairs = new Map<Backend, number>(backends.map((backend) => [backend, 0]));
    for (const clients of clientCounts) {
      const samples = new Map<Backend, Sample[]>(backends.map((backend) => [backend, []]));
      for (let repetition = 0; repetition < repetitions; repetition += 1) {
        for (const backend of backends) {
          const measured = { ...parts.get(backend), callers: { pid: load.pid ?? 0 } };
          const before = processorMs(measured);
          const result = await processes.load(load, {
            urls: [urls.get(backend) ?? ''],
            key,
            clients,
            until: { warmUpMs, measureMs },
          });
          const after = processorMs(measured);
          pairs.set(backend, (pairs.get(backend) ?? 0) + result.everyPair);
          samples.get(backend)?.push({
            pairsPerSecond: result.pairs / result.seconds,
            reserveMs: result.reserveMs,
            cpuMs: before && after && perThing(before, after, result.everyPair),
          });
        }
      }
      report({ clients, repetitions }, samples, print);
    }
    await checkBooks({ adminUrl, tenantId, made: pairs.get('authority') ?? 0 });
    await checkPlainBooks(pool, tenantId, (pairs.get('sql') ?? 0) + (pairs.get('sqlCoalesced') ?? 0));
  } finally {
    await processes.stop();
    await pool.end();
  }
}

function report(
  about: { clients: number; repetitions: number },
  samples: ReadonlyMap<Backend, Sample[]>,
  print: Print,
): void {
  const plain = median((samples.get('sql') ?? []).map(({ pairsPerSecond }) => pairsPerSecond));
  for (const [backend, repeated] of samples) {
    const pairs = median(repeated.map(({ pairsPerSecond }) => pairsPerSecond));
    print(`${backend}.pairs_per_second`, pairs, '1/s', {
      ...about,
      ratioToSql: Math.round((pairs / plain) * 100) / 100,
    });
    for (const [name, share] of [
      ['p50', 0.5],
      ['p95', 0.95],
      ['p99', 0.99],
    ] as const) {
      const ms = median(repeated.map(({ reserveMs }) => quantile(reserveMs, share)));
      print(`${backend}.reserve_${name}_ms`, ms, 'ms', about);
    }
    const cpu = repeated.flatMap(({ cpuMs }) => (cpuMs ? [cpuMs] : []));
    const parts = Object.keys(cpu[0] ?? {}).map((part) => [part, median(cpu.map((of) => of[part] ?? 0))] as const);
    if (parts.length > 0) printProcessorMs(print, `${backend}.cpu_ms_per_pair`, Object.fromEntries(parts), about);
  }
}

/** No decision lost or doubled: the books hold exactly the pairs that the clients made. */
export async function checkBooks({
  adminUrl,
  tenantId,
  made,
}: {
  adminUrl: string;
  tenantId: string;
  made: number;
}): Promise<void> {
  const admin = new PgClient({ connectionString: adminUrl });
  await admin.connect();
  try {
    const look = async (): Promise<{ entries: number; spent: string; reserved: string; open: number }> => {
      const { rows } = await admin.query<{ entries: number; spent: string; reserved: string; open: number }>(
        `SELECT (SELECT count(*)::integer FROM copilot_internal.cost_records WHERE tenant_id = $1) AS entries,
                trim_scale(current_spend_usd)::text AS spent, trim_scale(reserved_usd)::text AS reserved,
                (SELECT count(*)::integer FROM copilot_internal.reservations WHERE tenant_id = $1 AND status = 'granted') AS open
         FROM copilot_internal.cost_quotas WHERE tenant_id = $1 AND scope = 'tenant' AND resource_type = 'all'`,
        [tenantId],
      );
      return rows[0] as { entries: number; spent: string; reserved: string; open: number };
    };
    let books = await look();
    for (let tries = 0; books.open > 0 && tries < 100; tries += 1) {
      await sleep(100);
      books = await look();
    }
    const wanted = { entries: made, spentUsd: (made * Number(costUsd)).toFixed(3), reservedUsd: '0' };
    const found = { entries: books.entries, spentUsd: Number(books.spent).toFixed(3), reservedUsd: books.reserved };
    if (JSON.stringify(found) !== JSON.stringify(wanted)) {
      throw new Error(`The books hold ${JSON.stringify(found)}; the clients made ${JSON.stringify(wanted)}.`);
    }
  } finally {
    await admin.end();
  }
}

async function checkPlainBooks(pool: Pool, tenantId: string, made: number): Promise<void> {
  const { rows } = await pool.query<{ entries: number }>(
    'SELECT count(*)::integer AS entries FROM plain.cost_records WHERE tenant_id = $1',
    [tenantId],
  );
  if (rows[0]?.entries !== made)
    throw new Error(
      `The plain books hold ${rows[0]?.entries} entries; the clients made ${made} pairs of ${amountUsd}.`,
    );
}

async function runSql(connectionString: string, sql: string): Promise<void> {
  const client = new PgClient({ connectionString });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
