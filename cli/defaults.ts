/** `npx spendlock budget policy` and `budget user-defaults`: what holds where nothing else is said. */
import { Command, InvalidArgumentError, Option } from 'commander';
import { omitUndefined } from '../core/omit-undefined';
import { client } from './api';
import {
  amount,
  author,
  covered,
  example,
  periods,
  reasonOption,
  share,
  whole,
  type Json,
  type QuotaOptions,
} from './options';
import { show, table, usd, type Column } from './output';

type BudgetClient = ReturnType<typeof client>['budget'];
type Policy = Awaited<ReturnType<BudgetClient['policy']>>;
type UserDefault = Awaited<ReturnType<BudgetClient['userDefaults']>>['quotas'][number];

const onUnavailable = ['wait', 'deny', 'allow'] as const;
const policyWords = ({ tenantId, onUnavailable: then, answerTimeoutMs }: Policy): string =>
  `${tenantId}: when the authority does not answer for ${answerTimeoutMs} ms, ${
    { wait: 'a call waits for it', deny: 'a call is denied', allow: 'a call is made without a grant' }[then]
  } (${then}).`;

export function policyCommands(): Command {
  const policy = new Command('policy').description('what happens when the authority does not answer');
  const now = policy.command('show <tenant>').description('what holds');
  example(now, 'budget policy show acme').action(async (tenantId: string, { json = false }: Json) => {
    const answer = await client().budget.policy(tenantId);
    show(json, answer, () => policyWords(answer));
  });
  const set = policy
    .command('set <tenant>')
    .description('sets it; the next decision goes by it')
    .addOption(new Option('--on-unavailable <what>', 'what a call does').choices(onUnavailable).makeOptionMandatory())
    .addOption(
      new Option('--answer-timeout <ms>', 'how long an answer may take')
        .argParser(whole(100, 600_000, 'milliseconds'))
        .default(5_000),
    )
    .addOption(reasonOption());
  example(set, 'budget policy set acme --on-unavailable deny --answer-timeout 2000').action(
    async (
      tenantId: string,
      options: Json & Pick<Policy, 'onUnavailable'> & { answerTimeout: number; reason?: string },
    ) => {
      const { onUnavailable: then, answerTimeout: answerTimeoutMs, reason, json = false } = options;
      const order = { onUnavailable: then, answerTimeoutMs, ...omitUndefined({ reason }), author: author() };
      const answer = await client().budget.setPolicy(tenantId, order);
      show(json, answer, () => policyWords(answer));
    },
  );
  return policy;
}

const columns: Column<UserDefault>[] = [
  { name: 'resource', of: ({ resourceType }) => resourceType },
  { name: 'period', of: ({ period }) => period },
  { name: 'limit', of: ({ limitUsd }) => usd(limitUsd), right: true },
  { name: 'warns at', of: ({ warningThreshold }) => String(warningThreshold), right: true },
];
const defaultsTable = (quotas: UserDefault[]): string =>
  table(columns, quotas, 'None: a new user is bound by the quotas of the tenant alone.');

export interface Limit {
  resourceType: QuotaOptions['resource'];
  period: QuotaOptions['period'];
  limitUsd: string;
}

/** One more of the limits that are given, such as `llm/day=2`. */
export function limits(text: string, before: Limit[] = []): Limit[] {
  const [, resourceType, per, usdText = ''] = /^([^/]+)\/(\w+)=(.+)$/.exec(text) ?? [];
  const period = periods.find((one) => one === per);
  if (resourceType === undefined || period === undefined)
    throw new InvalidArgumentError('It must be RESOURCE/PERIOD=USD, such as llm/day=2 or all/month=20.');
  return [...before, { resourceType: covered(resourceType), period, limitUsd: amount(usdText) }];
}

export function userDefaultsCommands(): Command {
  const defaults = new Command('user-defaults').description('the quotas that each new user of a tenant gets');
  const now = defaults.command('show <tenant>').description('what a new user gets');
  example(now, 'budget user-defaults show acme').action(async (tenantId: string, { json = false }: Json) => {
    const answer = await client().budget.userDefaults(tenantId);
    show(json, answer, () => defaultsTable(answer.quotas));
  });
  const set = defaults
    .command('set')
    .argument('<tenant>')
    .argument('[limits...]', 'all that there are then, each as RESOURCE/PERIOD=USD', limits)
    .description('sets them all, also for users who have them already; quotas of a user himself stay')
    .option('--none', 'no more: new users are bound by the tenant alone')
    .option('--warn-at <share>', 'warn at this share of each', share)
    .addOption(reasonOption());
  example(
    set,
    'budget user-defaults set acme llm/day=2 all/month=20 --warn-at 0.9',
    'budget user-defaults set acme --none',
  ).action(
    async (
      tenantId: string,
      named: Limit[] | undefined,
      options: Json & { none?: boolean; warnAt?: number; reason?: string },
    ) => {
      const { none = false, warnAt, reason, json = false } = options;
      const all = named ?? [];
      if (none === all.length > 0) throw new InvalidArgumentError('Say limits, such as llm/day=2, or --none.');
      const quotas = all.map((limit) => ({ ...limit, ...omitUndefined({ warningThreshold: warnAt }) }));
      const order = { quotas, ...omitUndefined({ reason }), author: author() };
      const answer = await client().budget.setUserDefaults(tenantId, order);
      show(json, answer, () => defaultsTable(answer.quotas));
    },
  );
  return defaults;
}
