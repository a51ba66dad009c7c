import { Command } from 'commander';
import { connect } from './api';
import { show, table, usd, type Column } from './output';

interface Tenant {
  tenantId: string;
  name: string;
  frozenReason: string | null;
  limitUsd: string | null;
  spentUsd: string | null;
  reservedUsd: string | null;
}

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
  return tenants;
}
