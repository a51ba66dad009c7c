/** `npx spendlock budget label-defaults`: what each value of a label may spend that has no limit of its own. */
import { Command, InvalidArgumentError } from 'commander';
import { isLabelKey } from '../core/label-query';
import { omitUndefined } from '../core/omit-undefined';
import { client } from './api';
import { limits, type Limit } from './defaults';
import { author, example, reasonOption, share, type Json } from './options';
import { show, table, usd, type Column } from './output';

type LabelDefault = Awaited<ReturnType<ReturnType<typeof client>['budget']['labelDefaults']>>['quotas'][number];

const columns: Column<LabelDefault>[] = [
  { name: 'each value of', of: ({ key }) => key },
  { name: 'resource', of: ({ resourceType }) => resourceType },
  { name: 'period', of: ({ period }) => period },
  { name: 'limit', of: ({ limitUsd }) => usd(limitUsd), right: true },
  { name: 'warns at', of: ({ warningThreshold }) => String(warningThreshold), right: true },
];
const defaultsTable = (quotas: LabelDefault[]): string =>
  table(columns, quotas, 'None: labels are bound by limits of their own alone.');

/** One more of the limits that are given, such as `team:all/day=5`. */
function limitsOfKeys(text: string, before: (Limit & { key: string })[] = []): (Limit & { key: string })[] {
  const [, key = '', limit = ''] = /^([^:]*):(.*)$/.exec(text) ?? [];
  if (!isLabelKey(key))
    throw new InvalidArgumentError(
      'It must be KEY:RESOURCE/PERIOD=USD, such as team:all/day=5 or customer:llm/month=20.',
    );
  return [...before, ...limits(limit).map((one) => ({ key, ...one }))];
}

export function labelDefaultsCommands(): Command {
  const defaults = new Command('label-defaults').description('the quotas of each value of a label without its own');
  const now = defaults.command('show <tenant>').description('what each value gets');
  example(now, 'budget label-defaults show acme').action(async (tenantId: string, { json = false }: Json) => {
    const answer = await client().budget.labelDefaults(tenantId);
    show(json, answer, () => defaultsTable(answer.quotas));
  });
  const set = defaults
    .command('set')
    .argument('<tenant>')
    .argument('[limits...]', 'all that there are then, each as KEY:RESOURCE/PERIOD=USD', limitsOfKeys)
    .description('sets them all, also for values that have them already; quotas of a value itself stay')
    .option('--none', 'no more: labels are bound by limits of their own alone')
    .option('--warn-at <share>', 'warn at this share of each', share)
    .addOption(reasonOption());
  example(
    set,
    'budget label-defaults set acme team:all/day=5 customer:llm/month=20',
    'budget label-defaults set acme --none',
  ).action(
    async (
      tenantId: string,
      named: (Limit & { key: string })[] | undefined,
      options: Json & { none?: boolean; warnAt?: number; reason?: string },
    ) => {
      const { none = false, warnAt, reason, json = false } = options;
      const all = named ?? [];
      if (none === all.length > 0) throw new InvalidArgumentError('Say limits, such as team:all/day=5, or --none.');
      const quotas = all.map((limit) => ({ ...limit, ...omitUndefined({ warningThreshold: warnAt }) }));
      const order = { quotas, ...omitUndefined({ reason }), author: author() };
      const answer = await client().budget.setLabelDefaults(tenantId, order);
      show(json, answer, () => defaultsTable(answer.quotas));
    },
  );
  return defaults;
}
