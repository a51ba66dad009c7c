/** `npx spendlock usage`: what was spent, in sums and line by line. */
import { Command, InvalidArgumentError, Option } from 'commander';
import type { CostRecordView, UsageView } from '../client';
import type { Labels } from '../core/labels';
import { omitUndefined } from '../core/omit-undefined';
import { isUsageGrouping, usageGroups, type UsageGrouping } from '../core/usage-groups';
import { client } from './api';
import {
  cursorOption,
  example,
  labelFilter,
  labelTerms,
  limitOption,
  moment,
  uuid,
  type Json,
  type Page,
} from './options';
import { labelWords, moreLines, noneOf, show, table, usd, when, type Column } from './output';

type Line = UsageView['lines'][number];
const columnsOf = ({ groupBy, thenBy }: UsageView): Column<Line>[] => [
  { name: thenBy == null ? 'group' : groupBy, of: ({ group }) => group || '–' },
  ...(thenBy == null ? [] : [{ name: thenBy, of: ({ thenGroup }: Line) => thenGroup || '–' }]),
  { name: 'cost', of: ({ costUsd }) => usd(costUsd), right: true },
  { name: 'unverified', of: ({ unverifiedUsd }) => usd(unverifiedUsd), right: true },
  { name: 'saved by caches', of: ({ cacheSavedUsd }) => usd(cacheSavedUsd), right: true, extra: true },
  { name: 'operations', of: ({ operations }) => String(operations), right: true },
];

const recordColumns: Column<CostRecordView>[] = [
  { name: 'posted (UTC)', of: ({ postedAt }) => when(postedAt) },
  { name: 'what', of: ({ kind, entry }) => (entry === 'charge' ? kind : `${kind} (${entry})`) },
  { name: 'cost', of: ({ amountUsd }) => usd(amountUsd), right: true },
  { name: 'settlement', of: ({ settlement }) => settlement },
  { name: 'model', of: ({ model }) => model ?? '–', extra: true },
  { name: 'user', of: ({ userId }) => userId ?? '–', extra: true },
  { name: 'operation', of: ({ operationId }) => operationId, extra: true },
  { name: 'labels', of: ({ labels }) => labelWords(labels), extra: true },
];

const words = (answer: UsageView): string =>
  [
    table(columnsOf(answer), answer.lines, 'Nothing was spent.'),
    `${usd(answer.costUsd)} from ${when(answer.from)} to ${when(answer.to)} (UTC)`,
    ...(answer.isCut ? [`Shown: the dearest ${answer.lines.length} of ${answer.groups}; --csv has all.`] : []),
  ].join('\n');

interface Span extends Json {
  from?: string;
  to?: string;
  csv?: boolean;
}
const spanOptions = (command: Command): Command =>
  command
    .option('--from <moment>', 'from then on', moment)
    .option('--to <moment>', 'before then', moment)
    .option('--csv', 'all of it as comma-separated values');

interface SumOptions extends Span {
  by: UsageGrouping;
  thenBy?: UsageGrouping;
  label?: Labels;
}

/** Of what there is some, it is one of the choices; a label has any key. */
const grouping = (flags: string, what: string): Option =>
  new Option(flags, `${what}, also a label such as label:team`).choices(usageGroups).argParser((text) => {
    if (isUsageGrouping(text)) return text;
    throw new InvalidArgumentError(`It must be ${usageGroups.join(', ')} or a label such as label:team.`);
  });

export function usageCommands(): Command {
  const usage = new Command('usage').description('what was spent');
  const sums = spanOptions(
    usage
      .command('show <tenant>', { isDefault: true })
      .description('sums of a tenant, of the last thirty days when no span is given')
      .addOption(grouping('--by <group>', 'what is summed').default('model'))
      .addOption(grouping('--then-by <group>', 'each of them once more, by another thing'))
      .addOption(labelFilter()),
  );
  example(
    sums,
    'usage show acme --by user --from 2026-11-01',
    'usage show acme --by label:team --then-by model --label feature=chat',
  ).action(async (tenantId: string, { by, thenBy, label, csv = false, json = false, ...span }: SumOptions) => {
    const asked = { tenantId, groupBy: by, ...omitUndefined({ thenBy, label: label && labelTerms(label) }), ...span };
    if (csv) return void process.stdout.write(await client().usage.summaryCsv(asked));
    const answer = await client().usage.summary(asked);
    show(json, answer, () => words(answer));
  });
  addRecords(usage);
  return usage;
}

interface RecordOptions extends Span, Page {
  user?: string;
  run?: string;
  operation?: string;
  model?: string;
  unverified?: boolean;
  label?: Labels;
}

function addRecords(usage: Command): void {
  const list = spanOptions(
    usage
      .command('list <tenant>')
      .description('the ledger of a tenant, entry by entry')
      .option('--user <id>', 'of one user')
      .addOption(new Option('--run <id>', 'of one run').argParser(uuid))
      .addOption(new Option('--operation <id>', 'of one operation').argParser(uuid))
      .option('--model <name>', 'of one model')
      .option('--unverified', 'only those whose cost nobody knows')
      .addOption(labelFilter())
      .addOption(cursorOption())
      .addOption(limitOption(100)),
  );
  example(list, 'usage list acme --unverified', 'usage list acme --from 2026-11-01 --csv > november.csv').action(
    async (tenantId: string, options: RecordOptions) => {
      const {
        user,
        run,
        operation,
        unverified,
        label = {},
        csv = false,
        json = false,
        limit,
        cursor,
        ...more
      } = options;
      const labels = labelTerms(label);
      const asked = {
        tenantId,
        ...more,
        ...(user === undefined ? {} : { userId: user }),
        ...(run === undefined ? {} : { runId: run }),
        ...(operation === undefined ? {} : { operationId: operation }),
        ...(unverified ? { settlement: 'unverified' as const } : {}),
        ...(labels.length === 0 ? {} : { label: labels }),
      };
      if (csv) return void process.stdout.write(await client().usage.exportCsv(asked));
      const answer = await client().usage.records({ ...asked, limit, ...(cursor === undefined ? {} : { cursor }) });
      show(json, answer, () =>
        [
          table(
            recordColumns,
            answer.records,
            noneOf('entries', tenantId, { user, run, operation, unverified, labels: labels[0], cursor, ...more }),
          ),
          ...moreLines(answer.nextCursor),
        ].join('\n'),
      );
    },
  );
}
