/**
 * The authority as callers outside Temporal meet it: reserve, answer, commit over HTTP, one tenant, clients in a closed
 * loop; and beside it, in turns, plain Postgres functions behind the same HTTP server. API, worker and clients are
 * processes of their own. Afterwards the books are compared with what the clients were told.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client as PgClient } from 'pg';
import { createApiKey } from '../../store/api-keys';
import { createPool, type Pool } from '../../store/pool';
import type { Backend } from './api-process';
import { benchTenant } from './bench-tenant';
import { amountUsd, costUsd } from './load-amounts';
import type { LoadOrder, LoadResult } from './load-process';
import { median, quantile, type Print } from './report';

const backends: readonly Backend[] = ['authority', 'sql', 'sqlCoalesced'];
const clientCounts = [1, 10, 50, 200];
const repetitions = 5;
const warmUpMs = 1_000;
const measureMs = 3_000;

export interface AuthorityBench {
  adminUrl: string;
  databaseUrl: string;
  temporalAddress: string;
}

interface Sample {
  pairsPerSecond: number;
  reserveMs: number[];
}

export async function measureAuthority(
  { adminUrl, databaseUrl, temporalAddress }: AuthorityBench,
  print: Print,
): Promise<void> {
  await runSql(adminUrl, await readFile(path.join(__dirname, 'plain-sql.sql'), 'utf8'));
  const pool = createPool(databaseUrl);
  const children: ChildProcess[] = [];
  try {
    const tenantId = await benchTenant(pool, 'bench-authority');
    await pool.query('INSERT INTO plain.quotas (tenant_id, limit_usd) VALUES ($1, 1000000)', [tenantId]);
    const { key } = await createApiKey(pool, { tenantId, label: 'bench' });
    const start = async (file: string, argument: object, environment = {}): Promise<ChildProcess> => {
      const child = fork(path.join(__dirname, file), [JSON.stringify(argument)], {
        execArgv: ['--import', 'tsx'],
        env: { ...process.env, ...environment },
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      });
      children.push(child);
      return child;
    };
    const worker = await start(
      path.join('..', '..', 'workers', 'main.ts'),
      {},
      workerEnvironment(databaseUrl, temporalAddress),
    );
    await once(worker, 'message');
    const urls = new Map<Backend, string>();
    for (const backend of backends) {
      const api = await start('api-process.ts', { backend, databaseUrl, address: temporalAddress });
      const [{ url }] = (await once(api, 'message')) as [{ url: string }];
      urls.set(backend, url);
    }
    const load = (await start('load-process.ts', {})).setMaxListeners(50);
    await once(load, 'message');

    const pairs = new Map<Backend, number>(backends.map((backend) => [backend, 0]));
    for (const clients of clientCounts) {
      const samples = new Map<Backend, Sample[]>(backends.map((backend) => [backend, []]));
      for (let repetition = 0; repetition < repetitions; repetition += 1) {
        for (const backend of backends) {
          const result = await loadOnce(load, { url: urls.get(backend) ?? '', key, clients, warmUpMs, measureMs });
          pairs.set(backend, (pairs.get(backend) ?? 0) + result.everyPair);
          samples.get(backend)?.push({ pairsPerSecond: result.pairs / result.seconds, reserveMs: result.reserveMs });
        }
      }
      report(clients, samples, print);
    }
    await checkBooks(pool, { adminUrl, tenantId, pairs });
  } finally {
    for (const child of children.reverse()) await stop(child);
    await pool.end();
  }
}

const workerEnvironment = (databaseUrl: string, temporalAddress: string): Record<string, string> => ({
  DATABASE_URL: databaseUrl,
  TEMPORAL_ADDRESS: temporalAddress,
  SPENDLOCK_TASK_QUEUES: 'runs,budget',
  ANTHROPIC_API_KEY: 'none',
  LOG_LEVEL: 'warn',
});

function report(clients: number, samples: ReadonlyMap<Backend, Sample[]>, print: Print): void {
  const plain = median((samples.get('sql') ?? []).map(({ pairsPerSecond }) => pairsPerSecond));
  for (const [backend, repeated] of samples) {
    const pairs = median(repeated.map(({ pairsPerSecond }) => pairsPerSecond));
    const about = { clients, repetitions };
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
  }
}

async function loadOnce(load: ChildProcess, order: LoadOrder): Promise<LoadResult> {
  const answer = once(load, 'message');
  load.send(order);
  const failed = once(load, 'exit').then(() => {
    throw new Error('The clients of the benchmark failed; what they were told stands above.');
  });
  const [result] = (await Promise.race([answer, failed])) as [LoadResult];
  return result;
}

/** No decision lost or doubled: the books hold exactly the pairs that the clients made. */
async function checkBooks(
  pool: Pool,
  { adminUrl, tenantId, pairs }: { adminUrl: string; tenantId: string; pairs: ReadonlyMap<Backend, number> },
): Promise<void> {
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
    const made = pairs.get('authority') ?? 0;
    const wanted = { entries: made, spentUsd: (made * Number(costUsd)).toFixed(3), reservedUsd: '0' };
    const found = { entries: books.entries, spentUsd: Number(books.spent).toFixed(3), reservedUsd: books.reserved };
    if (JSON.stringify(found) !== JSON.stringify(wanted)) {
      throw new Error(`The books hold ${JSON.stringify(found)}; the clients made ${JSON.stringify(wanted)}.`);
    }
    const { rows } = await pool.query<{ entries: number }>(
      'SELECT count(*)::integer AS entries FROM plain.cost_records WHERE tenant_id = $1',
      [tenantId],
    );
    const plain = (pairs.get('sql') ?? 0) + (pairs.get('sqlCoalesced') ?? 0);
    if (rows[0]?.entries !== plain)
      throw new Error(
        `The plain books hold ${rows[0]?.entries} entries; the clients made ${plain} pairs of ${amountUsd}.`,
      );
  } finally {
    await admin.end();
  }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const killer = setTimeout(() => child.kill('SIGKILL'), 10_000);
  await exited;
  clearTimeout(killer);
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
