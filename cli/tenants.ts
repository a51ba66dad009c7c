/** `npx spendlock tenants`: whose money there is. */
import { Command } from 'commander';
import { SpendlockApiError, type OverviewView, type TenantsView } from '../client';
import { errorFrom } from '../client/errors';
import { counted } from '../core/counted';
import { client, everyPage } from './api';
import { CommandError, failureOf } from './failures';
import { removeWritten } from './files';
import { author, example, reasonNeeded, type Json } from './options';
import { show, table, usd, usdLeft, when, type Column } from './output';
import { limitWords, quotaName, shadowTable } from './limits';
import { exportTenant } from './tenant-export';

type Tenant = TenantsView['tenants'][number];
type Quota = OverviewView['quotas'][number];

const columns: Column<Tenant>[] = [
  { name: 'tenant', of: ({ tenantId }) => tenantId },
  { name: 'name', of: ({ name }) => name, extra: true },
  { name: 'limit (month)', of: ({ limitUsd }) => usd(limitUsd), right: true },
  { name: 'spent', of: ({ spentUsd }) => usd(spentUsd), right: true },
  { name: 'reserved', of: ({ reservedUsd }) => usd(reservedUsd), right: true },
  { name: 'state', of: ({ frozenReason }) => (frozenReason === null ? 'open' : `frozen: ${frozenReason}`) },
];

const standing: Column<Quota>[] = [
  { name: 'quota', of: quotaName },
  { name: 'resource', of: ({ resourceType }) => resourceType },
  { name: 'period', of: ({ period }) => period },
  { name: 'limit', of: limitWords, right: true },
  { name: 'remaining', of: ({ remainingUsd }) => usdLeft(remainingUsd), right: true },
  { name: 'heads for', of: ({ forecast }) => usd(forecast?.projectedUsd), right: true },
  { name: 'used up (UTC)', of: ({ forecast }) => when(forecast?.exhaustedAt), extra: true },
];

/** In the order in which money comes to them. */
const waiting: Column<OverviewView['waiting'][number]>[] = [
  { name: 'waits for money', of: ({ workflowId, runId }) => runId ?? workflowId },
  { name: 'user', of: ({ userId }) => userId ?? '–', extra: true },
  { name: 'needs', of: ({ neededUsd, resource }) => `${usd(neededUsd)} ${resource}`, right: true },
  { name: 'since (UTC)', of: ({ since }) => when(since) },
];

const words = (one: OverviewView): string =>
  [
    `${one.tenantId}${one.name && ` (${one.name})`}`,
    ...(one.frozenReason === null ? [] : [`FROZEN: ${one.frozenReason}. Nothing new is granted.`]),
    table(standing, one.quotas, 'No quota: nothing can be reserved.'),
    ...shadowTable(one.shadowQuotas),
    `Open: ${counted(one.open.runs, 'run')}, ${counted(one.open.conversations, 'conversation')}, ` +
      `${counted(one.open.sandboxes, 'sandbox', 'sandboxes')}.`,
    ...(one.waiting.length === 0 ? [] : [table(waiting, one.waiting, '')]),
    `Waiting: ${one.open.waitingForMoney} for money; ${counted(one.open.approvals, 'approval')} pending.`,
    `Lately: ${counted(one.denials.length, 'denial')}, ${counted(one.alerts.length, 'alert')}, ` +
      `${counted(one.holds.length, 'hold')}. --json has all of it.`,
  ].join('\n');

export function tenantsCommands(): Command {
  const tenants = new Command('tenants').description('whose money it is');
  const list = tenants.command('list').description('every tenant, with its monthly quota for everything');
  example(list, 'tenants list').action(async ({ json = false }: Json) => {
    const answer = await everyPage('tenants', (page) => client().tenants.list(page));
    show(json, answer, () =>
      table(columns, answer.tenants, 'There are no tenants yet: npx spendlock tenants create ID'),
    );
  });
  const one = tenants.command('show <tenant>').description('how a tenant stands: quotas, forecast, what is open');
  example(one, 'tenants show acme').action(async (tenantId: string, { json = false }: Json) => {
    const answer = await client().tenants.overview(tenantId);
    show(json, answer, () => words(answer));
  });
  addCreate(tenants);
  addExport(tenants);
  addRemove(tenants);
  return tenants;
}

function addCreate(tenants: Command): void {
  const create = tenants
    .command('create <tenant>')
    .alias('add')
    .description('makes a tenant with the default quotas; its API key is shown once')
    .option('--name <name>', 'how people call it');
  example(create, 'tenants create acme --name "Acme Inc."').action(
    async (tenantId: string, { name, json = false }: Json & { name?: string }) => {
      const answer = await client().tenants.create({ tenantId, ...(name === undefined ? {} : { name }) });
      show(json, answer, () => `${tenantId} is there. Its API key, shown only now:\n${answer.apiKey}`);
    },
  );
}

function addExport(tenants: Command): void {
  const toFile = tenants
    .command('export <tenant> <file>')
    .description('writes every row of a tenant to a file, one JSON object a line')
    .option('--force', 'in place of a file that is there already');
  example(toFile, 'tenants export acme acme.ndjson').action(
    async (tenantId: string, file: string, { force = false, json = false }: Json & { force?: boolean }) => {
      const rows = await exportTenant(tenantId, file, { force });
      show(json, { tenantId, file, rows }, () => `${file} has ${counted(rows, 'row')} of ${tenantId}.`);
    },
  );
}

interface RemoveOptions extends Json {
  export: string;
  force?: boolean;
  confirm: string;
  reason: string;
  author?: string;
}

/** Nothing was deleted: after any other failure the file may be all that is left. */
const surelyRefused = ['tenant_busy', 'forbidden', 'unauthorized', 'invalid_request'];

/** A deletion that failed after its export. What was refused leaves no file, so that the next try writes its own. */
function afterExport(error: unknown, { tenantId, file }: { tenantId: string; file: string }): unknown {
  if (error instanceof SpendlockApiError && surelyRefused.includes(error.code)) {
    removeWritten(file);
    const message = `${error.message} ${tenantId} was not deleted, and its export ${file} was removed again.`;
    return errorFrom(error.status, { ...error.body, message });
  }
  const { code, message } = failureOf(error);
  return new CommandError(
    `${message} Whether ${tenantId} was deleted is not known: \`npx spendlock tenants list\` says. Its rows are kept in ${file}; ` +
      'where it is still there, the next try names another file or says --force.',
    code,
  );
}

function addRemove(tenants: Command): void {
  const remove = tenants
    .command('remove <tenant>')
    .alias('delete')
    .description('deletes a tenant with all that is its own, after an export')
    .requiredOption('--export <file>', 'where its rows are written first')
    .option('--force', 'in place of a file that is there already')
    .requiredOption('--confirm <tenant>', 'the tenant once more')
    .addOption(reasonNeeded())
    .option('--author <name>', 'who deletes it; you when absent')
    .addHelpText('after', '\nIts open runs have to end first. What is deleted does not come back.');
  example(remove, 'tenants remove acme --export acme.ndjson --confirm acme --reason "contract ended"').action(
    async (tenantId: string, { json = false, ...options }: RemoveOptions) => {
      const { export: file, force = false, confirm, reason } = options;
      if (confirm !== tenantId) throw new CommandError(`--confirm must be ${tenantId}. Nothing was deleted.`);
      const rows = await exportTenant(tenantId, file, { force });
      const order = { confirm, reason, author: options.author ?? author() };
      await client()
        .tenants.delete(tenantId, order)
        .catch((error: unknown) => {
          throw afterExport(error, { tenantId, file });
        });
      show(
        json,
        { tenantId, deleted: true, file, rows },
        () => `${tenantId} is deleted. ${file} has ${counted(rows, 'row')} of it.`,
      );
    },
  );
}
