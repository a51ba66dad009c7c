/** `npx spendlock tenants`: whose money there is. */
import { createReadStream } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { Command } from 'commander';
import type { TenantSummary } from '../store/operator-changes';
import { connect } from './api';
import { show, table, usd, type Column } from './output';

type Tenant = Omit<TenantSummary, 'createdAt'>;

const columns: Column<Tenant>[] = [
  { name: 'tenant', of: ({ tenantId }) => tenantId },
  { name: 'name', of: ({ name }) => name },
  { name: 'limit (month)', of: ({ limitUsd }) => usd(limitUsd), right: true },
  { name: 'spent', of: ({ spentUsd }) => usd(spentUsd), right: true },
  { name: 'reserved', of: ({ reservedUsd }) => usd(reservedUsd), right: true },
  { name: 'state', of: ({ frozenReason }) => (frozenReason === null ? 'open' : `frozen: ${frozenReason}`) },
];

export function tenantsCommands(): Command {
  const tenants = new Command('tenants').description('whose money it is');
  tenants
    .command('list')
    .description('every tenant, with its monthly quota for everything')
    .action(async ({ json = false }: { json?: boolean }) => {
      const answer = await connect().get<{ tenants: Tenant[] }>('/v1/tenants');
      show(json, answer, () => table(columns, answer.tenants, 'No tenant yet: npx spendlock tenants add ID'));
    });
  tenants
    .command('add <tenant>')
    .description('makes a tenant with the default quotas; its API key is shown once')
    .option('--name <name>', 'how people call it')
    .action(async (tenantId: string, { name, json = false }: { name?: string; json?: boolean }) => {
      const body = { tenantId, ...(name === undefined ? {} : { name }) };
      const answer = await connect().send<{ apiKey: string }>('POST', '/v1/tenants', body);
      show(json, answer, () => `${tenantId} is there. Its API key, shown only now:\n${answer.apiKey}`);
    });
  tenants
    .command('export <tenant> <file>')
    .description('writes every row of a tenant to a file, one JSON object a line')
    .addHelpText('after', '\nExample: npx spendlock tenants export acme acme.ndjson')
    .action(async (tenantId: string, file: string, { json = false }: { json?: boolean }) => {
      const rows = await exportTo(tenantId, file);
      show(json, { tenantId, file, rows }, () => `${rows} rows of ${tenantId} are in ${file}.`);
    });
  tenants
    .command('delete <tenant>')
    .description('deletes a tenant with all that is its own, after an export')
    .requiredOption('--export <file>', 'where its rows are written first')
    .requiredOption('--confirm <tenant>', 'the tenant once more')
    .requiredOption('--reason <text>', 'why; kept in the audit')
    .option('--author <name>', 'who deletes it')
    .addHelpText(
      'after',
      '\nIts open runs have to end first. What is deleted does not come back.\n\nExample: npx spendlock tenants delete acme --export acme.ndjson --confirm acme --reason "contract ended"',
    )
    .action(async (tenantId: string, options: DeleteOptions) => {
      const { export: file, confirm, reason, author, json = false } = options;
      if (confirm !== tenantId) throw new Error(`--confirm must be ${tenantId}. Nothing was deleted.`);
      const rows = await exportTo(tenantId, file);
      const body = { confirm, reason, ...(author === undefined ? {} : { author }) };
      await connect().send('POST', `/v1/tenants/${tenantId}/delete`, body);
      show(
        json,
        { tenantId, deleted: true, file, rows },
        () => `${tenantId} is deleted. Its ${rows} rows are in ${file}.`,
      );
    });
  return tenants;
}

interface DeleteOptions {
  export: string;
  confirm: string;
  reason: string;
  author?: string;
  json?: boolean;
}

/** Exports, and makes sure that it is whole. Answers how many rows there are. */
async function exportTo(tenantId: string, file: string): Promise<number> {
  const target = path.resolve(process.env.SPENDLOCK_CALLER_DIR ?? '.', file);
  await connect().download(`/v1/tenants/${tenantId}/export`, target);
  let last = '';
  for await (const line of createInterface({ input: createReadStream(target) })) last = line;
  const { end = false, rows = 0 } = JSON.parse(last || '{}') as { end?: boolean; rows?: number };
  if (!end) throw new Error(`The export in ${target} broke off. Nothing was deleted; remove the file and try again.`);
  return rows;
}
