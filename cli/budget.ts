/** `npx spendlock budget`: a tenant’s quotas, and the orders that change them. */
import { Command, InvalidArgumentError, Option } from 'commander';
import { ApiCallError, connect } from './api';
import {
  amount,
  author,
  example,
  periodOption,
  platformOption,
  positiveAmount,
  reasonOption,
  resourceOption,
  scopeOf,
  tenantPath,
  userOption,
  type QuotaOptions,
} from './options';
import { addCorrections } from './corrections';
import { show, table, usd, type Column } from './output';
import { repairCommand } from './repair';

interface Quota {
  scope: string;
  scopeId: string;
  resourceType: string;
  period: string;
  limitUsd: string;
  topupUsd: string;
  spentUsd: string;
  reservedUsd: string;
  remainingUsd: string;
  resetsAt: string | null;
}
interface Json {
  json?: boolean;
}

const columns: Column<Quota>[] = [
  { name: 'quota', of: ({ scope, scopeId }) => (scope === 'tenant' ? scope : `${scope} ${scopeId}`) },
  { name: 'resource', of: ({ resourceType }) => resourceType },
  { name: 'period', of: ({ period }) => period },
  {
    name: 'limit',
    of: ({ limitUsd, topupUsd }) => usd(limitUsd) + (topupUsd === '0' ? '' : ` + ${usd(topupUsd)}`),
    right: true,
  },
  { name: 'spent', of: ({ spentUsd }) => usd(spentUsd), right: true },
  { name: 'reserved', of: ({ reservedUsd }) => usd(reservedUsd), right: true },
  { name: 'remaining', of: ({ remainingUsd }) => usd(remainingUsd), right: true },
  {
    name: 'resets',
    of: ({ resetsAt }) => (resetsAt === null ? 'never' : resetsAt.slice(0, 16).replace('T', ' ') + ' UTC'),
  },
];
interface PlatformQuota extends Quota {
  leasedUsd: string;
}
type ShowOptions = Json & { platform?: boolean; user?: string };
type RemoveOptions = QuotaOptions & Json & { reason: string };
type SetOptions = QuotaOptions & Json & { reason?: string; limit: string; warnAt?: number[]; platform?: boolean };

/** One more of the shares that are given. */
function shares(text: string, before: number[] = []): number[] {
  const share = Number(text);
  if (!(share > 0 && share <= 1)) throw new InvalidArgumentError('It must be above 0 and at most 1, such as 0.8.');
  return [...before, share];
}

const platformOnly = 'platform';
/** Whom a command is about. @throws Error when it is nobody, or two. */
function oneOf(tenantId: string | undefined, platform: boolean): string {
  if (platform && tenantId === undefined) return platformOnly;
  if (!platform && tenantId !== undefined) return 'tenant';
  throw new ApiCallError('Name a tenant or say --platform, one of the two. Nothing was done.');
}

const platformTable = (quotas: PlatformQuota[]): string =>
  table(
    [...columns.slice(1, 4), ...leasedColumn, ...columns.slice(4)],
    quotas,
    'No platform quota: tenants are bound by their own only.',
  );
const leasedColumn: Column<PlatformQuota>[] = [{ name: 'leased', of: ({ leasedUsd }) => usd(leasedUsd), right: true }];
interface Budget {
  quotas: Quota[];
  moreUserQuotas: number;
  frozenReason: string | null;
  frozenUsers: { userId: string; reason: string }[];
}
const frozenLines = ({ frozenReason, frozenUsers }: Budget): string[] => [
  ...(frozenReason === null ? [] : [`FROZEN: ${frozenReason}. Nothing new is granted.`]),
  ...frozenUsers.map(({ userId, reason }) => `FROZEN: user ${userId}: ${reason}.`),
];
const quotaTable = (quotas: Quota[]): string => table(columns, quotas, 'No quota: nothing can be reserved.');
const moreLines = ({ moreUserQuotas }: Budget): string[] =>
  moreUserQuotas === 0 ? [] : [`and ${moreUserQuotas} more quotas of users; --user shows those of one`];

export function budgetCommands(): Command {
  const budget = new Command('budget').description('limits, top-ups, freezes and corrections');
  addShow(budget);
  addSet(budget);
  addRemove(budget);
  addTopUp(budget);
  addFreezes(budget);
  addCorrections(budget);
  budget.addCommand(repairCommand());
  return budget;
}

function addShow(budget: Command): void {
  const command = budget
    .command('show [tenant]')
    .description('the quotas that bind a tenant, or with --platform those that bind all tenants together')
    .addOption(platformOption)
    .addOption(new Option('--user <id>', 'the tenant and this user alone'));
  example(command, 'budget show acme', 'budget show --platform').action(
    async (tenantId: string | undefined, { json = false, platform = false, user }: ShowOptions) => {
      if (oneOf(tenantId, platform) === platformOnly) {
        const answer = await connect().get<{ quotas: PlatformQuota[] }>('/v1/platform/quotas');
        return show(json, answer, () => platformTable(answer.quotas));
      }
      const query = user === undefined ? '' : `?${new URLSearchParams({ userId: user }).toString()}`;
      const answer = await connect().get<Budget>(tenantPath(tenantId ?? '', 'quotas') + query);
      show(json, answer, () => [...frozenLines(answer), quotaTable(answer.quotas), ...moreLines(answer)].join('\n'));
    },
  );
}

function addSet(budget: Command): void {
  budget
    .command('set [tenant]')
    .description('sets a limit of a tenant, or with --platform of all together; the next decision goes by it')
    .addOption(platformOption)
    .requiredOption('--limit <usd>', 'US dollars per period', amount)
    .addOption(resourceOption)
    .addOption(periodOption)
    .addOption(userOption)
    .option('--reason <words>', 'why, for the audit; of a tenant')
    .option('--warn-at <shares...>', 'warn at these shares of the limit, such as 0.5 0.8', shares)
    .addHelpText('after', '\nExample:\n  npx spendlock budget set acme --limit 250 --resource llm --warn-at 0.5 0.8')
    .action(async (tenantId: string | undefined, options: SetOptions) => {
      const [warningThreshold, ...moreWarningThresholds] = options.warnAt ?? [];
      const limits = {
        resourceType: options.resource,
        period: options.period,
        limitUsd: options.limit,
        ...(warningThreshold === undefined ? {} : { warningThreshold, moreWarningThresholds }),
      };
      if (oneOf(tenantId, options.platform ?? false) === platformOnly) {
        const body = { quotas: [limits], author: author() };
        const answer = await connect().send<{ quotas: PlatformQuota[] }>('PUT', '/v1/platform/quotas', body);
        return show(options.json ?? false, answer, () => platformTable(answer.quotas));
      }
      const answer = await connect().send<{ quotas: Quota[]; warnings: string[] }>(
        'PUT',
        tenantPath(tenantId ?? '', 'quotas'),
        {
          quotas: [{ ...scopeOf(options), ...limits }],
          ...(options.reason === undefined ? {} : { reason: options.reason }),
          author: author(),
        },
      );
      const warned = answer.warnings.map((warning) => `Mind: ${warning}`);
      show(options.json ?? false, answer, () => [quotaTable(answer.quotas), ...warned].join('\n'));
    });
}

function addRemove(budget: Command): void {
  const command = budget
    .command('remove <tenant>')
    .description('removes a limit for good; what was spent stays in the ledger')
    .addOption(resourceOption)
    .addOption(periodOption)
    .addOption(userOption)
    .addOption(reasonOption());
  example(command, 'budget remove acme --resource llm --reason "one limit for all"').action(
    async (tenantId: string, { resource: resourceType, period, reason, json = false, ...options }: RemoveOptions) => {
      const body = { ...scopeOf(options), resourceType, period, reason, author: author() };
      const answer = await connect().send('POST', tenantPath(tenantId, 'quotas/remove'), body);
      show(json, answer, () => `The ${resourceType} limit per ${period} is removed.`);
    },
  );
}

function addTopUp(budget: Command): void {
  budget
    .command('topup')
    .argument('<tenant>')
    .argument('<usd>', 'US dollars, more than 0', positiveAmount)
    .description('lifts a limit once, until its period ends')
    .addOption(resourceOption)
    .addOption(periodOption)
    .addOption(userOption)
    .addOption(reasonOption())
    .addHelpText('after', '\nExample:\n  npx spendlock budget topup acme 25 --reason "launch week"')
    .action(async (tenantId: string, usdText: string, options: QuotaOptions & Json & { reason: string }) => {
      const answer = await connect().send('POST', tenantPath(tenantId, 'topups'), {
        ...scopeOf(options),
        resourceType: options.resource,
        period: options.period,
        amountUsd: usdText,
        reason: options.reason,
        author: author(),
      });
      show(options.json ?? false, answer, () => `Topped up by ${usd(usdText)} until the ${options.period} ends.`);
    });
}

function addFreezes(budget: Command): void {
  for (const verb of ['freeze', 'unfreeze'] as const) {
    const command = budget
      .command(`${verb} <tenant>`)
      .description(verb === 'freeze' ? 'nothing more is reserved; what is reserved goes on' : 'reserving goes on')
      .addOption(userOption);
    command.addOption(verb === 'freeze' ? reasonOption() : new Option('--reason <words>', 'why, for the audit'));
    example(command, `budget ${verb} acme${verb === 'freeze' ? ' --reason "invoice overdue"' : ''}`).action(
      async (tenantId: string, { user, reason, json = false }: Json & { user?: string; reason?: string }) => {
        const body = {
          ...(user === undefined ? {} : { userId: user }),
          ...(reason === undefined ? {} : { reason }),
          author: author(),
        };
        const answer = await connect().send('POST', tenantPath(tenantId, verb), body);
        const whom = user === undefined ? tenantId : `user ${user} of ${tenantId}`;
        show(json, answer, () => (verb === 'freeze' ? `${whom} is frozen.` : `${whom} may reserve again.`));
      },
    );
  }
}
