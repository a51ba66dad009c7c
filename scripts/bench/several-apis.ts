/**
 * Four processes of the API beside one, in turns: 200 clients of one tenant in a closed loop, a quarter of them to each, and how long
 * nobody was served at most. Each decides directly, so that they wait for each other at the tenant's row. Afterwards the books are compared.
 */
import { createApiKey } from '../../store/api-keys';
import { createPool } from '../../store/pool';
import { checkBooks, type AuthorityBench } from './authority';
import { benchTenant } from './bench-tenant';
import type { LoopResult } from './load-process';
import { BenchProcesses } from './processes';
import { median, quantile, type Print } from './report';

const clients = 200;
const counts = [1, 4] as const;
const until = { warmUpMs: 1_000, measureMs: 5_000 };

export async function measureSeveralApis(
  { adminUrl, databaseUrl, temporalAddress, repetitions }: AuthorityBench,
  print: Print,
): Promise<void> {
  const pool = createPool(databaseUrl);
  const processes = new BenchProcesses();
  try {
    const tenantId = await benchTenant(pool, 'bench-several-apis');
    const { key } = await createApiKey(pool, { tenantId });
    await processes.startWorker(databaseUrl, temporalAddress);
    const urls: string[] = [];
    while (urls.length < Math.max(...counts))
      urls.push((await processes.startApi({ backend: 'authority', databaseUrl, address: temporalAddress })).url);
    const load = await processes.startLoad();
    const samples = new Map<number, LoopResult[]>(counts.map((count) => [count, []]));
    let made = 0;
    for (let repetition = 0; repetition < repetitions; repetition += 1)
      for (const count of counts) {
        const result = await processes.load(load, { urls: urls.slice(0, count), key, clients, until });
        made += result.everyPair;
        samples.get(count)?.push(result);
      }
    const perSecond = (count: number): number =>
      median((samples.get(count) ?? []).map(({ pairs, seconds }) => pairs / seconds));
    for (const [count, results] of samples) {
      const about = { processes: count, clients, repetitions };
      print('several_apis.pairs_per_second', perSecond(count), '1/s', {
        ...about,
        overOne: Math.round((perSecond(count) / perSecond(1)) * 100) / 100,
      });
      print(
        'several_apis.reserve_p99_ms',
        median(results.map(({ reserveMs }) => quantile(reserveMs, 0.99))),
        'ms',
        about,
      );
      print('several_apis.longest_gap_ms', Math.max(...results.map(({ longestGapMs }) => longestGapMs)), 'ms', about);
    }
    await checkBooks({ adminUrl, tenantId, made });
  } finally {
    await processes.stop();
    await pool.end();
  }
}
