/**
 * Checks that a live installation enforces its quotas: `npm run test-quota-enforcement`. It makes a tenant of its own, spends
 * its money over HTTP as any caller does, looks at what comes of it, and removes the tenant again. No provider is called.
 *
 * The API is found as by `npx spendlock`; the database, for letting a period end and for removing the tenant, by
 * SPENDLOCK_ADMIN_DATABASE_URL, or in the data folder of an `npm start` that runs here.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Command } from 'commander';
import type { Client } from 'pg';
import { formatUsd, parseUsd } from '../core/money';
import { connectTo } from '../store/connections';
import { client } from '../cli/api';
import { CommandError, failureOf } from '../cli/failures';
import { dataDirOf } from '../cli/data-dir';
import { QuotaExceededError, type QuotaView, type SpendlockClient } from '../client';

interface Result {
  check: string;
  ok: boolean;
  found: string;
}

async function main(): Promise<number> {
  const { json = false } = new Command('test-quota-enforcement')
    .description('Checks that a live installation enforces its quotas, with a tenant of its own.')
    .option('--json', 'one JSON object: {ok, results}')
    .addHelpText('after', '\nExit code: 0 enforced, 1 not, 2 nothing could be checked.')
    .addHelpText('after', '\nExample: npm start & npm run test-quota-enforcement')
    .parse()
    .opts<{ json?: boolean }>();
  const api = client();
  const database = await connectTo({ connectionString: adminUrl() });
  const tenantId = `quota-check-${randomUUID().slice(0, 8)}`;
  try {
    const results = await check(api, database, tenantId);
    const ok = results.every((result) => result.ok);
    if (json) console.log(JSON.stringify({ ok, tenantId, results }));
    else {
      for (const result of results) console.log(`${result.ok ? 'ok    ' : 'FAILED'}  ${result.check}: ${result.found}`);
      console.log(ok ? 'Quotas are enforced.' : 'Quotas are not enforced as they should be.');
    }
    return ok ? 0 : 1;
  } finally {
    await database.query('DELETE FROM copilot_internal.tenants WHERE tenant_id = $1', [tenantId]);
    await database.end();
  }
}

async function check(api: SpendlockClient, database: Client, tenantId: string): Promise<Result[]> {
  const results: Result[] = [];
  const note = (name: string, ok: boolean, found: string): void => void results.push({ check: name, ok, found });
  const quotas = async (): Promise<QuotaView[]> =>
    (await api.tenants.quotas(tenantId)).quotas.filter(({ scope }) => scope === 'tenant');
  const llm = async (): Promise<QuotaView> => {
    const quota = (await quotas()).find(({ resourceType }) => resourceType === 'llm');
    if (!quota) throw new Error(`${tenantId} has no llm quota.`);
    return quota;
  };
  /** The grant in US dollars, or undefined when it was denied. */
  const reserve = async (amountUsd: string): Promise<string | undefined> => {
    const operationId = randomUUID();
    try {
      await api.reserve({ operationId, tenantId, resource: 'llm', amountUsd, ttlSeconds: 60 });
      return operationId;
    } catch (error) {
      if (error instanceof QuotaExceededError) return undefined;
      throw error;
    }
  };
  const commit = (operationId: string, costUsd: string): Promise<object> =>
    api.commit(operationId, { tenantId, costUsd });

  await api.tenants.create({ tenantId, name: 'made by test-quota-enforcement' });
  const made = (await quotas())
    .map(({ resourceType, limitUsd, period }) => `${resourceType} $${limitUsd} per ${period}`)
    .sort();
  note(
    'a new tenant has its quotas',
    made.join(', ') === 'all $150 per month, e2b $50 per month, llm $100 per month',
    made.join(', '),
  );

  await api.tenants.setQuotas(tenantId, [{ resourceType: 'llm', limitUsd: '1' }]);
  const first = await reserve('0.6');
  note('allows what fits', first !== undefined, first ? '$0.60 of $1 granted' : '$0.60 of $1 denied');
  const second = await reserve('0.6');
  note('denies what does not', second === undefined, second ? 'another $0.60 granted' : 'another $0.60 denied');

  if (first !== undefined) await commit(first, '0.5');
  let after = await llm();
  for (let look = 0; look < 100 && after.spentUsd !== '0.5'; look += 1) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    after = await llm();
  }
  const held = `spent $${after.spentUsd}, reserved $${after.reservedUsd}`;
  note(
    'spend grows by the cost, and the rest is free again',
    after.spentUsd === '0.5' && after.reservedUsd === '0',
    held,
  );

  // The same $1 by ten callers at once, of which what is left is enough for two.
  const racing = (await Promise.all(Array.from({ length: 10 }, () => reserve('0.2')))).filter(
    (one) => one !== undefined,
  );
  const granted = formatUsd(parseUsd('0.2') * BigInt(racing.length));
  note(
    'ten at once get no more than there is',
    racing.length === 2,
    `${racing.length} of 10 granted, $${granted} of $0.5`,
  );
  await Promise.all(racing.map((operationId) => api.release(operationId, { tenantId })));

  await database.query(
    `UPDATE copilot_internal.cost_quotas SET period_start = period_start - interval '1 month', period_end = now()
     WHERE tenant_id = $1 AND period = 'month'`,
    [tenantId],
  );
  const renewed = await reserve('0.9');
  const { spentUsd } = await llm();
  note(
    "starts at zero at its period's end",
    renewed !== undefined && spentUsd === '0',
    `spent $${spentUsd}, $0.90 ${renewed ? 'granted' : 'denied'}`,
  );
  return results;
}

/** The superuser's address: named, or that of the installation that `npm start` runs here. */
function adminUrl(): string {
  const named = process.env.SPENDLOCK_ADMIN_DATABASE_URL;
  if (named !== undefined) return named;
  const dir = dataDirOf(process.env);
  try {
    const password = readFileSync(path.join(dir, 'postgres-password'), 'utf8').trim();
    const port = readFileSync(path.join(dir, 'postgres', 'postmaster.pid'), 'utf8').split('\n')[3] ?? '';
    return `postgres://postgres:${password}@127.0.0.1:${port.trim()}/postgres`;
  } catch {
    throw new CommandError(
      'No database to look at. Set SPENDLOCK_ADMIN_DATABASE_URL, or run `npm start` here. Nothing was done.',
    );
  }
}

main().then(
  (status) => process.exit(status),
  (error: unknown) => {
    console.error(
      error instanceof CommandError ? error.message : `Nothing could be checked: ${failureOf(error).message}`,
    );
    process.exit(2);
  },
);
