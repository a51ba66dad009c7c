/** `npx spendlock what-if`: what other limits, or other prices, would have done with a span of a tenant's record. */
import { Command, InvalidArgumentError, Option } from 'commander';
import type { WhatIfView } from '../client';
import { counted } from '../core/counted';
import { omitUndefined } from '../core/omit-undefined';
import { client } from './api';
import { readNamed } from './files';
import { quotaName } from './limits';
import { amount, covered, example, moment, periods, type Json } from './options';
import { show, table, usd, when, type Column } from './output';
import { readPriceFile } from './price-file';

type Asked = NonNullable<Parameters<ReturnType<typeof client>['usage']['whatIf']>[1]>;
type Limit = NonNullable<Asked['limits']>[number];

const isPeriod = (text: string): text is (typeof periods)[number] => (periods as readonly string[]).includes(text);

/** `50`, `day=5`, `llm/day=5`, `user:ada/day=5` or `label:team:search/llm/month=5`, and those that were said before. */
function limitTried(text: string, before: Limit[] = []): Limit[] {
  const [, of = '', usdText = ''] = /^(?:(.*)=)?([^=]*)$/.exec(text) ?? [];
  const words = of === '' ? [] : of.split('/');
  const period = words.length === 0 ? 'month' : (words.pop() ?? '');
  if (!isPeriod(period))
    throw new InvalidArgumentError(
      `It must be such as 50, day=5, llm/day=5, user:ada/day=5 or label:team:search/month=5: a period (${periods.join(', ')}) and US dollars.`,
    );
  const resourceType = words.length > 0 && !words.at(-1)?.includes(':') ? covered(words.pop() ?? '') : 'all';
  return [...before, { ...whoseLimit(words.join('/')), resourceType, period, limitUsd: amount(usdText) }];
}

function whoseLimit(text: string): Pick<Limit, 'scope' | 'scopeId'> {
  if (text === '') return { scope: 'tenant' };
  const [, scope, scopeId = ''] = /^(user|label):(.+)$/.exec(text) ?? [];
  if (scope === 'user' || scope === 'label') return { scope, scopeId };
  throw new InvalidArgumentError(
    'Whose limit it is is said as user:ada or label:team:search; without it is the tenant’s.',
  );
}

interface Options extends Json {
  from?: string;
  to?: string;
  limit?: Limit[];
  prices?: string;
}

export function whatIfCommand(): Command {
  const command = new Command('what-if')
    .argument('<tenant>')
    .description('what other limits, or other prices, would have done with what is on record; changes nothing')
    .option('--from <moment>', 'from then on; thirty days back unless it is said', moment)
    .option('--to <moment>', 'before then', moment)
    .addOption(
      new Option(
        '--limit <limit>',
        'a limit that is tried, in US dollars: 50 (a month), day=5, llm/day=5, user:ada/day=5, label:team:search/month=5; may be said again',
      ).argParser(limitTried),
    )
    .option('--prices <file>', 'what the span would have cost by these prices, a file as `prices import` takes it');
  return example(
    command,
    'what-if acme',
    'what-if acme --from 2026-11-01 --limit 150 --limit user:ada/day=5',
    'what-if acme --prices model_prices_and_context_window.json --json',
  ).action(async (tenantId: string, { from, to, limit, prices, json = false }: Options) => {
    const asked: Asked = {
      ...omitUndefined({ from, to, limits: limit }),
      ...(prices === undefined ? {} : { prices: await pricesOf(prices) }),
    };
    const answer = await client().usage.whatIf(tenantId, asked);
    show(json, answer, () => words(answer));
  });
}

/** A model that a file states twice is taken as it states it first. */
async function pricesOf(name: string): Promise<Asked['prices']> {
  const { prices } = readPriceFile((await readNamed(name)).toString('utf8'));
  const byModel = new Map<string, NonNullable<Asked['prices']>[number]>();
  for (const { source: _, ...price } of prices) {
    const { inputUsd, outputUsd, longContext, ...rest } = price;
    if (inputUsd === undefined || outputUsd === undefined || byModel.has(price.model)) continue;
    const { inputUsd: longInput, outputUsd: longOutput } = longContext ?? {};
    byModel.set(price.model, {
      ...{ ...rest, inputUsd, outputUsd },
      ...(longContext && longInput !== undefined && longOutput !== undefined
        ? { longContext: { ...longContext, inputUsd: longInput, outputUsd: longOutput } }
        : {}),
    });
  }
  return [...byModel.values()];
}

type Shown = WhatIfView['first'][number];
const limitName = (limit: Shown['limit']): string =>
  limit === null ? 'none' : `${quotaName(limit)} ${limit.resourceType} per ${limit.period} (${usd(limit.limitUsd)})`;

const requestColumns: Column<Shown>[] = [
  { name: 'when (UTC)', of: ({ at }) => when(at) },
  { name: 'operation', of: ({ operationId }) => operationId },
  { name: 'user', of: ({ userId }) => userId ?? '–', extra: true },
  { name: 'got', of: ({ grantedUsd }) => usd(grantedUsd), right: true },
  { name: 'would get', of: ({ wouldBeUsd }) => usd(wouldBeUsd), right: true },
  { name: 'by the limit of', of: ({ limit }) => limitName(limit), extra: true },
];

type Sums = Pick<WhatIfView, 'denied' | 'deniedUsd' | 'shrunk' | 'shrunkUsd' | 'raised' | 'raisedUsd'>;
const sumColumns: Column<Sums>[] = [
  { name: 'refused', of: ({ denied }) => String(denied), right: true },
  { name: 'of', of: ({ deniedUsd }) => usd(deniedUsd), right: true },
  { name: 'less', of: ({ shrunk }) => String(shrunk), right: true },
  { name: 'by', of: ({ shrunkUsd }) => usd(shrunkUsd), right: true },
  { name: 'more', of: ({ raised }) => String(raised), right: true },
  { name: 'by', of: ({ raisedUsd }) => usd(raisedUsd), right: true },
];

/** Whether the record could be reproduced: what is said of other limits is worth as much. */
function recordWords({ since, record }: WhatIfView): string[] {
  const { played, reproduced, unlike, notReplayed } = record;
  return [
    ...(since === null
      ? []
      : [`The order of decisions is on record from ${when(since)} UTC on: nothing before is played.`]),
    reproduced === played
      ? `Reproduced: every recorded answer, ${played} of ${played}.`
      : `NOT reproduced: ${played - reproduced} of ${played} recorded answers. What follows is not to be relied on.\n${table(requestColumns, unlike, '')}`,
    ...notReplayed.map(({ why, requests }) => `Not replayed: ${counted(requests, 'request')}, ${why}.`),
  ];
}

function limitWords(answer: WhatIfView): string[] {
  const { denied, shrunk, raised, limits, costs, record } = answer;
  if (limits.length === 0) return [];
  const tried = `With ${limits.map(limitName).join(', ')}`;
  const cost = `What ended cost ${usd(costs.recordedUsd)}, and would have cost ${usd(costs.wouldBeUsd)}.`;
  if (record.played === 0) return [`${tried}: no request was played, so nothing can be said of it. ${cost}`];
  if (denied + shrunk + raised === 0)
    return [
      `${tried}: each of the ${counted(record.played, 'request')} played would have been answered the same. ${cost}`,
    ];
  return [
    `${tried}: ${counted(denied, 'request')} would have been refused (${usd(answer.deniedUsd)}), ${shrunk} would have got less ` +
      `(by ${usd(answer.shrunkUsd)}), ${raised} more (by ${usd(answer.raisedUsd)}). ${cost}`,
    table<WhatIfView['byLimit'][number]>(
      [
        { name: 'limit', of: ({ limit }) => limitName(limit) },
        { name: 'first (UTC)', of: ({ firstAt }) => when(firstAt) },
        ...sumColumns,
      ],
      answer.byLimit,
      '',
    ),
    table<WhatIfView['byDay'][number]>([{ name: 'day', of: ({ day }) => day }, ...sumColumns], answer.byDay, ''),
    `The first ${answer.first.length}:\n${table(requestColumns, answer.first, '')}`,
    'Who is refused, or gets less, asks otherwise from then on: nobody can know how.',
    ...(raised > 0
      ? [
          'A step of a run that was refused and asked again counts once; others that asked again, for the same thing, count each time.',
        ]
      : []),
  ];
}

function priceWords({ prices }: WhatIfView): string[] {
  if (prices === null) return [];
  return [
    table<(typeof prices.byModel)[number]>(
      [
        { name: 'model', of: ({ model }) => model },
        { name: 'operations', of: ({ operations }) => String(operations), right: true },
        { name: 'cost', of: ({ recordedUsd }) => usd(recordedUsd), right: true },
        { name: 'would cost', of: ({ wouldCostUsd }) => usd(wouldCostUsd), right: true },
      ],
      prices.byModel,
      'Nothing of the span could be priced anew.',
    ),
    ...prices.leftOut.map(
      ({ why, operations, recordedUsd }) =>
        `Left at what it cost: ${counted(operations, 'operation')}, ${usd(recordedUsd)} (${why}).`,
    ),
    `By these prices the span would have cost ${usd(prices.wouldCostUsd)}, not ${usd(prices.recordedUsd)}. Its estimates, and so its decisions, are not made anew.`,
  ];
}

const words = (answer: WhatIfView): string =>
  [
    `From ${when(answer.from)} to ${when(answer.to)} (UTC).`,
    ...recordWords(answer),
    ...limitWords(answer),
    ...priceWords(answer),
  ].join('\n');
