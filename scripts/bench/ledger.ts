/**
 * How a large ledger is to live with: usage, overview and single lines read from ten million ledger rows, half of them one tenant's,
 * and what a decision of that tenant costs beside them.
 */
import { Client as Postgres } from 'pg';
import { dayMs } from '../../core/budget/periods';
import { listCostRecords } from '../../store/cost-records';
import { readOverview } from '../../store/overview';
import { createPool, type Pool } from '../../store/pool';
import { usageGroups } from '../../core/usage-groups';
import { readUsage } from '../../store/usage';
import type { UsageAsked } from '../../store/usage-query';
import type { AuthorityBench } from './authority';
import { benchTenant } from './bench-tenant';
import { BenchProcesses } from './processes';
import { quantile, type Print } from './report';
import { createApiKey } from '../../store/api-keys';

/** Rows in all; half of them are one tenant's, over a year, the others' are a hundred tenants'. */
const sizes = [100_000, 1_000_000, 10_000_000];
const others = 100;
const large = 'bench-ledger';
const queries = 40;

export async function measureLedger(
  { adminUrl, databaseUrl, temporalAddress }: AuthorityBench,
  print: Print,
): Promise<void> {
  const admin = new Postgres({ connectionString: adminUrl });
  await admin.connect();
  const pool = createPool(databaseUrl);
  const processes = new BenchProcesses();
  try {
    await benchTenant(pool, large);
    for (let other = 0; other < others; other += 1) await benchTenant(pool, `${large}-${other}`);
    await processes.startWorker(databaseUrl, temporalAddress);
    const { url } = await processes.startApi({ backend: 'authority', databaseUrl, address: temporalAddress });
    const { key } = await createApiKey(pool, { tenantId: large });
    for (const [index, rows] of sizes.entries()) {
      const startedMs = performance.now();
      await fill(admin, { from: sizes[index - 1] ?? 0, to: rows });
      const about = { rows, fillSeconds: Math.round((performance.now() - startedMs) / 100) / 10 };
      await measureQueries(pool, about, print);
      await measureDecisions({ url, key }, about, print);
    }
  } finally {
    await processes.stop();
    await pool.end();
    await admin.end();
  }
}

/**
 * What nine of ten rows are for: one of 20 teams, one of its 10 features, one of 300 customers, of which some have much more than others.
 * They vary independently, so that most of a large tenant's lines of a day have a set of their own: the harder case.
 */
const labels = `CASE WHEN hashint8(i) % 10 <> 0 THEN jsonb_build_object('team', 'team-' || abs(hashint8(i + 1) % 20),
  'feature', 'feature-' || abs(hashint8(i + 1) % 20) || '-' || abs(hashint8(i + 2) % 10),
  'customer', 'customer-' || floor(300 * power(abs(hashint8(i + 3) % 100000) / 100000.0, 3))) END`;

/**
 * Writes rows that lie anywhere in the year, whatever the size, and sums them by day as the trigger does. That rows of one day are not
 * beside each other is the harder case.
 */
async function fill(admin: Postgres, { from, to }: { from: number; to: number }): Promise<void> {
  const chunk = 500_000;
  // Row by row the sums would be written a thousand times; they are made from the whole afterwards.
  await admin.query('ALTER TABLE copilot_internal.cost_records DISABLE TRIGGER costs_by_day');
  for (let at = from; at < to; at += chunk) {
    await admin.query(
      `INSERT INTO copilot_internal.cost_records (tenant_id, operation_id, entry, user_id, run_id, kind, resource, model,
         price_version, amount_usd, estimated_usd, settlement, posted_at, labels)
       SELECT CASE WHEN i % 2 = 0 THEN '${large}' ELSE '${large}-' || (i / 2 % ${others}) END, gen_random_uuid(), 'commit',
         'user-' || (i * 7919 % 200), md5((i / 10)::text)::uuid, (ARRAY['llm.call', 'llm.call', 'sandbox.create', 'compaction'])[1 + i % 4],
         CASE WHEN i % 4 = 2 THEN 'e2b' ELSE 'llm' END, CASE WHEN i % 4 = 2 THEN NULL ELSE 'model-' || (i * 31 % 12) END, 'bench', (i % 1000) / 100000.0, 0.02,
         CASE WHEN i % 500 = 0 THEN 'unverified' ELSE 'actual' END,
         now() - (i * 7919 % 365000) / 1000.0 * interval '1 day', ${labels}
       FROM generate_series($1::bigint, $2::bigint) AS i`,
      [at, Math.min(at + chunk, to) - 1],
    );
  }
  await admin.query('TRUNCATE copilot_internal.daily_costs');
  await admin.query(
    `INSERT INTO copilot_internal.daily_costs
     SELECT tenant_id, (posted_at AT TIME ZONE 'UTC')::date, resource, kind, coalesce(model, ''), coalesce(user_id, ''), sum(amount_usd),
       coalesce(sum(amount_usd) FILTER (WHERE settlement = 'unverified'), 0), count(*) FILTER (WHERE entry = 'commit')
     FROM copilot_internal.cost_records GROUP BY 1, 2, 3, 4, 5, 6`,
  );
  // As the trigger does, but for the order in which the sets of a day are told apart.
  await admin.query('TRUNCATE copilot_internal.daily_label_costs, copilot_internal.daily_label_sets');
  await admin.query(
    `INSERT INTO copilot_internal.daily_label_costs
     SELECT tenant_id, day, copilot_internal.labels_id(labels), labels, resource, kind, model, sum(cost), sum(unverified), count(*)
     FROM (
       SELECT tenant_id, day, resource, kind, model, cost, unverified,
         CASE WHEN dense_rank() OVER (PARTITION BY tenant_id, day ORDER BY labels) <= copilot_internal.label_sets_max() THEN labels
              ELSE copilot_internal.other_labels(labels) END AS labels
       FROM (
         SELECT tenant_id, (posted_at AT TIME ZONE 'UTC')::date AS day, labels, resource, kind, coalesce(model, '') AS model, amount_usd AS cost,
           CASE settlement WHEN 'unverified' THEN amount_usd ELSE 0 END AS unverified
         FROM copilot_internal.cost_records WHERE labels IS NOT NULL) AS lines) AS bounded
     GROUP BY 1, 2, 3, 4, 5, 6, 7`,
  );
  await admin.query(
    `INSERT INTO copilot_internal.daily_label_sets
     SELECT tenant_id, day, count(DISTINCT labels_id) FROM copilot_internal.daily_label_costs GROUP BY 1, 2`,
  );
  await admin.query('ALTER TABLE copilot_internal.cost_records ENABLE TRIGGER costs_by_day');
  await admin.query('VACUUM ANALYZE copilot_internal.cost_records');
  await admin.query('VACUUM ANALYZE copilot_internal.daily_costs, copilot_internal.daily_label_costs');
}

async function timed(times: number, work: (time: number) => Promise<unknown>): Promise<number[]> {
  const tookMs: number[] = [];
  for (let time = 0; time < times; time += 1) {
    const startedMs = performance.now();
    await work(time);
    tookMs.push(performance.now() - startedMs);
  }
  return tookMs;
}

/** What is asked of a month by labels. */
const ofLabels: Record<string, Pick<UsageAsked, 'groupBy' | 'thenBy' | 'labels'>> = {
  usage_by_label: { groupBy: 'label:team' },
  usage_by_customer: { groupBy: 'label:customer' },
  usage_by_label_and_model: { groupBy: 'label:team', thenBy: 'model' },
  usage_by_two_labels: { groupBy: 'label:team', thenBy: 'label:feature' },
  usage_by_label_and_day: { groupBy: 'label:team', thenBy: 'day' },
  usage_of_a_label: { groupBy: 'model', labels: { team: 'team-3' } },
  usage_of_a_customer_by_feature: { groupBy: 'label:feature', labels: { customer: 'customer-7' } },
  usage_of_a_label_by_user: { groupBy: 'user', labels: { team: 'team-3' } },
};

async function measureQueries(pool: Pool, about: object, print: Print): Promise<void> {
  const say = (name: string, tookMs: number[]): void => {
    for (const share of [0.5, 0.95])
      print(`ledger.${name}_p${share * 100}_ms`, quantile(tookMs, share), 'ms', { ...about, queries: tookMs.length });
  };
  const now = new Date();
  const today = new Date(Math.floor(now.getTime() / dayMs) * dayMs);
  const from = new Date(today.getTime() - 30 * dayMs);
  const to = new Date(today.getTime() + dayMs);
  const groups = usageGroups.filter((group) => group !== 'run');
  say(
    'usage',
    await timed(queries * groups.length, (time) =>
      readUsage(pool, { tenantId: large, from, to, groupBy: groups[time % groups.length] ?? 'day' }),
    ),
  );
  // From the middle of a day to the middle of another: the ends are read from the ledger.
  const noon = (date: Date): Date => new Date(date.getTime() + dayMs / 2);
  say(
    'usage_within_days',
    await timed(queries, () =>
      readUsage(pool, { tenantId: large, from: noon(from), to: noon(today), groupBy: 'model' }),
    ),
  );
  say(
    'usage_year',
    await timed(queries, () =>
      readUsage(pool, { tenantId: large, from: new Date(today.getTime() - 364 * dayMs), to, groupBy: 'user' }),
    ),
  );
  say(
    'usage_by_run_of_a_day',
    await timed(10, () => readUsage(pool, { tenantId: large, from: today, to, groupBy: 'run' })),
  );
  for (const [name, asked] of Object.entries(ofLabels))
    say(name, await timed(queries, () => readUsage(pool, { tenantId: large, from, to, ...asked })));
  say('overview', await timed(queries, () => readOverview(pool, { tenantId: large, from, now })));
  say(
    'cost_records_page',
    await timed(queries, () => listCostRecords(pool, { tenantId: large, filter: { from }, limit: 100 })),
  );
  for (const [name, labels] of Object.entries({
    team: { team: 'team-3' },
    customer: { customer: 'customer-299' },
    none: { team: 'none' },
  }))
    say(
      `cost_records_page_of_${name}`,
      await timed(10, () => listCostRecords(pool, { tenantId: large, filter: { from, labels }, limit: 100 })),
    );
}

/** A pair of a reserve and its commit, by one client. */
async function measureDecisions(
  { url, key }: { url: string; key: string },
  about: object,
  print: Print,
): Promise<void> {
  const post = async (path: string, body: object): Promise<void> => {
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
    const response = await fetch(`${url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`);
    await response.arrayBuffer();
  };
  const pair = async (): Promise<void> => {
    const operationId = crypto.randomUUID();
    await post('/v1/reservations', { operationId, resource: 'llm', amountUsd: '0.01' });
    await post(`/v1/reservations/${operationId}/commit`, { costUsd: '0.008' });
  };
  await timed(20, pair);
  const tookMs = await timed(150, pair);
  for (const share of [0.5, 0.95])
    print(`ledger.pair_p${share * 100}_ms`, quantile(tookMs, share), 'ms', { ...about, pairs: tookMs.length });
}
