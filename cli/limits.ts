/** `npx spendlock budget show`, `set` and `remove`: the limits of a tenant, of its users, and of all tenants together. */
import { InvalidArgumentError, Option, type Command } from 'commander';
import type { PlatformQuotas, QuotaView, TenantQuotas } from '../client';
import { counted } from '../core/counted';
import type { Labels } from '../core/labels';
import { omitUndefined } from '../core/omit-undefined';
import { client } from './api';
import {
  amount,
  author,
  example,
  labelFilter,
  labelTerms,
  ofLabelOption,
  periodOption,
  platformOption,
  reasonNeeded,
  reasonOption,
  resourceOption,
  scopeOf,
  share,
  userOption,
  type Json,
  type QuotaOptions,
} from './options';
import { show, table, usd, usdLeft, when, type Column } from './output';

/** Those that are only watched, where there are some. */
export const shadowTable = (shadows: QuotaView[] = [], width?: number): string[] =>
  shadows.length === 0 ? [] : [`Watched, refusing nothing:\n${table(columns, shadows, '', width)}`];

/** What an order means beside what it was given for. */
const minded = ({ warnings }: { warnings: readonly string[] }): string[] =>
  warnings.map((warning) => `Mind: ${warning}`);

/** A limit with what was added to it. */
export const limitWords = ({ limitUsd, topupUsd }: Pick<QuotaView, 'limitUsd' | 'topupUsd'>): string =>
  usd(limitUsd) + (topupUsd === '0' ? '' : ` + ${usd(topupUsd)}`);

/** What was added and expires by itself, one line each. */
const expiryWords = (quotas: QuotaView[]): string[] =>
  quotas.flatMap((quota) =>
    (quota.expiringTopups ?? []).map(
      ({ amountUsd, expiresAt }) =>
        `of ${quotaName(quota)} ${quota.resourceType} per ${quota.period}: what is unused of ${usd(amountUsd)} expires ${when(expiresAt)} UTC`,
    ),
  );

/** Whose limit it is. */
export const quotaName = ({ scope, scopeId }: Pick<QuotaView, 'scope' | 'scopeId'>): string =>
  scope === 'tenant' ? scope : `${scope} ${scopeId}`;

/** What is reserved of it, and how much of that is in envelopes. */
const reservedWords = ({ reservedUsd, inEnvelopesUsd }: Pick<QuotaView, 'reservedUsd' | 'inEnvelopesUsd'>): string =>
  `${usd(reservedUsd)}${inEnvelopesUsd === undefined ? '' : `, ${usd(inEnvelopesUsd)} of it in envelopes`}`;

const columns: Column<QuotaView>[] = [
  { name: 'quota', of: quotaName },
  { name: 'resource', of: ({ resourceType }) => resourceType },
  { name: 'period', of: ({ period }) => period, extra: true },
  {
    name: 'limit',
    of: limitWords,
    right: true,
  },
  { name: 'spent', of: ({ spentUsd }) => usd(spentUsd), right: true },
  { name: 'reserved', of: reservedWords, right: true },
  { name: 'remaining', of: ({ remainingUsd }) => usdLeft(remainingUsd), right: true },
  { name: 'resets', of: ({ resetsAt }) => (resetsAt === null ? 'never' : `${when(resetsAt)} UTC`), extra: true },
];
const leasedColumn: Column<PlatformQuotas['quotas'][number]>[] = [
  { name: 'leased', of: ({ leasedUsd }) => usd(leasedUsd), right: true },
];

export const quotaTable = (quotas: QuotaView[], width?: number): string =>
  table(columns, quotas, 'No quota: nothing can be reserved.', width);
const platformTable = ({ quotas }: PlatformQuotas): string =>
  table(
    [...columns.slice(1, 4), ...leasedColumn, ...columns.slice(4)],
    quotas,
    'No platform quota: tenants are bound by their own only.',
  );
const budgetWords = ({
  quotas,
  shadowQuotas,
  moreUserQuotas,
  moreLabelQuotas,
  frozenReason,
  frozenUsers,
}: TenantQuotas): string =>
  [
    ...(frozenReason === null ? [] : [`FROZEN: ${frozenReason}. Nothing new is granted.`]),
    ...frozenUsers.map(({ userId, reason }) => `FROZEN: user ${userId}: ${reason}.`),
    quotaTable(quotas),
    ...expiryWords(quotas),
    ...(moreUserQuotas === 0
      ? []
      : [`and ${counted(moreUserQuotas, 'more quota', 'more quotas')} of users; --user shows those of one`]),
    ...(moreLabelQuotas === 0
      ? []
      : [`and ${counted(moreLabelQuotas, 'more quota', 'more quotas')} of labels; --label shows those of one`]),
    ...shadowTable(shadowQuotas),
  ].join('\n');

export function addLimits(budget: Command): void {
  addShow(budget);
  addSet(budget);
  addRemove(budget);
  addEnforcement(budget);
}

/** The tenant that a command is about; undefined for all together. @throws Error when it is about nobody, or two. */
function whose(tenantId: string | undefined, platform = false): string | undefined {
  if (platform === (tenantId !== undefined))
    throw new InvalidArgumentError('Name a tenant or say --platform, one of the two.');
  return tenantId;
}

function addShow(budget: Command): void {
  const command = budget
    .command('show [tenant]')
    .description('the quotas that bind a tenant, or with --platform those that bind all tenants together')
    .addOption(platformOption)
    .addOption(new Option('--user <id>', 'the tenant and this user alone'))
    .addOption(labelFilter('the tenant and what is for that alone'));
  example(command, 'budget show acme', 'budget show --platform').action(
    async (named: string | undefined, options: Json & { platform?: boolean; user?: string; label?: Labels }) => {
      const { json = false, platform, user, label } = options;
      const tenantId = whose(named, platform);
      if (tenantId === undefined) {
        const answer = await client().platform.quotas();
        return show(json, answer, () => platformTable(answer));
      }
      const answer = await client().tenants.quotas(
        tenantId,
        omitUndefined({ userId: user, label: label && labelTerms(label) }),
      );
      show(json, answer, () => budgetWords(answer));
    },
  );
}

/** One more of the shares that are given. */
const shares = (text: string, before: number[] = []): number[] => [...before, share(text)];

type SetOptions = QuotaOptions &
  Json & { reason?: string; limit: string; warnAt?: number[]; platform?: boolean; shadow?: true };

/** A limit of all tenants together is spent by leases of it, each decided by itself: nobody could say what it would have refused. */
const shadowOption = (what: string): Option => new Option('--shadow', what).conflicts('platform');

function addSet(budget: Command): void {
  const command = budget
    .command('set [tenant]')
    .description('sets a limit of a tenant, or with --platform of all together; the next decision goes by it')
    .addOption(platformOption)
    .requiredOption('--limit <usd>', 'US dollars per period', amount)
    .addOption(resourceOption)
    .addOption(periodOption)
    .addOption(userOption)
    .addOption(ofLabelOption())
    .addOption(reasonOption())
    .addOption(shadowOption('only watch it: it counts and raises alerts, and refuses nothing'))
    .option('--warn-at <shares...>', 'warn at these shares of the limit, such as 0.5 0.8', shares);
  example(
    command,
    'budget set acme --limit 250 --resource llm --warn-at 0.5 0.8',
    'budget set acme --label team=search --period day --limit 5',
    'budget set acme --limit 150 --shadow',
    'budget set --platform --limit 5000',
  ).action(async (named: string | undefined, options: SetOptions) => {
    const { resource: resourceType, period, limit: limitUsd, warnAt = [], shadow, reason, json = false } = options;
    const tenantId = whose(named, options.platform);
    const [warningThreshold, ...moreWarningThresholds] = warnAt;
    const limits = {
      resourceType,
      period,
      limitUsd,
      ...(warningThreshold === undefined ? {} : { warningThreshold, moreWarningThresholds }),
    };
    const why = { ...omitUndefined({ reason }), author: author() };
    if (tenantId === undefined) {
      const answer = await client().platform.setQuotas({ quotas: [limits], ...why });
      return show(json, answer, () => platformTable(answer));
    }
    const watched = shadow ? { enforced: false } : {};
    const answer = await client().tenants.setQuotas(tenantId, [{ ...scopeOf(options), ...limits, ...watched }], why);
    const warned = minded(answer);
    show(json, answer, () => [quotaTable(answer.quotas), ...shadowTable(answer.shadowQuotas), ...warned].join('\n'));
  });
}

function addRemove(budget: Command): void {
  const command = budget
    .command('remove [tenant]')
    .description('removes a limit of a tenant, or with --platform of all together, for good; what was spent stays')
    .addOption(platformOption)
    .addOption(resourceOption)
    .addOption(periodOption)
    .addOption(userOption)
    .addOption(ofLabelOption())
    .addOption(shadowOption('the one that is only watched'))
    .addOption(reasonNeeded());
  example(
    command,
    'budget remove acme --resource llm --reason "one limit for all"',
    'budget remove --platform --reason "no common limit"',
  ).action(
    async (
      named: string | undefined,
      options: QuotaOptions & Json & { reason: string; platform?: boolean; shadow?: true },
    ) => {
      const { resource: resourceType, period, shadow, reason, json = false } = options;
      const tenantId = whose(named, options.platform);
      const order = { resourceType, period, reason, author: author() };
      const answer =
        tenantId === undefined
          ? await client().platform.removeQuota(order)
          : await client().budget.removeQuota(tenantId, {
              ...scopeOf(options),
              ...order,
              ...(shadow ? { enforced: false } : {}),
            });
      const warned = minded({ warnings: [], ...answer });
      show(json, answer, () =>
        [`The ${shadow ? 'watched ' : ''}${resourceType} limit per ${period} is removed.`, ...warned].join('\n'),
      );
    },
  );
}

/** Whether a limit binds: `enforce` and `watch`. */
function addEnforcement(budget: Command): void {
  for (const { name, says, order, done } of [
    {
      name: 'enforce',
      says: 'has a limit bind that was only watched, in the place of one that was there',
      order: (...asked: Parameters<ReturnType<typeof client>['budget']['enforceQuota']>) =>
        client().budget.enforceQuota(...asked),
      done: 'binds from the next decision on',
    },
    {
      name: 'watch',
      says: 'has a limit bind no more: it counts and raises alerts, and refuses nothing; what no other limit covers is refused',
      order: (...asked: Parameters<ReturnType<typeof client>['budget']['watchQuota']>) =>
        client().budget.watchQuota(...asked),
      done: 'is watched, and refuses nothing from the next decision on',
    },
  ]) {
    const command = budget
      .command(`${name} <tenant>`)
      .description(says)
      .addOption(resourceOption)
      .addOption(periodOption)
      .addOption(userOption)
      .addOption(ofLabelOption())
      .addOption(reasonNeeded());
    example(command, `budget ${name} acme --resource llm --reason "tried for a week"`).action(
      async (tenantId: string, options: QuotaOptions & Json & { reason: string }) => {
        const { resource: resourceType, period, reason, json = false } = options;
        const answer = await order(tenantId, { ...scopeOf(options), resourceType, period, reason, author: author() });
        const { replacedUsd } = answer;
        const place = replacedUsd === undefined ? '' : ` It took the place of one of ${usd(replacedUsd)}.`;
        show(json, answer, () =>
          [`The ${resourceType} limit of ${limitWords(answer)} per ${period} ${done}.${place}`, ...minded(answer)].join(
            '\n',
          ),
        );
      },
    );
  }
}
