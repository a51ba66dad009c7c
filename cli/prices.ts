/** `npx spendlock prices`: what models cost, and new prices from a file. */
import { createInterface } from 'node:readline/promises';
import { Command, InvalidArgumentError } from 'commander';
import { counted } from '../core/counted';
import { omitUndefined } from '../core/omit-undefined';
import { ratePattern } from '../core/prices/prices';
import type { PriceView } from '../client';
import { client } from './api';
import { CommandError } from './failures';
import { readNamed } from './files';
import { author, day, example, moment, today } from './options';
import { show, table, usd, type Column } from './output';
import { changesBetween, mergePrice, type PriceChange, type PriceFacts } from './price-changes';
import { priceVersionsAt } from './price-versions';
import { addSandboxPriceCommands } from './sandbox-prices';
import { readPriceFile, type PriceFile } from './price-file';

/** The day, and the time too where it is none's beginning: a day may have several versions. */
const sinceWords = (moment: string): string => moment.slice(0, 19).replace('T00:00:00', '').replace('T', ' ');

const columns: Column<PriceView>[] = [
  { name: 'provider', of: ({ provider }) => provider },
  { name: 'model', of: ({ model }) => model },
  { name: 'since (UTC)', of: ({ effectiveFrom }) => sinceWords(effectiveFrom) },
  { name: 'in / Mtok', of: ({ inputUsd }) => usd(inputUsd), right: true },
  { name: 'out / Mtok', of: ({ outputUsd }) => usd(outputUsd), right: true },
  { name: 'cached', of: ({ cacheReadUsd }) => usd(cacheReadUsd), right: true },
  { name: 'as of', of: ({ sourceDate }) => sourceDate },
];

const changeColumns = (from: string | undefined): Column<PriceChange>[] => [
  { name: 'model', of: ({ model }) => model },
  { name: 'what', of: ({ what }) => what },
  { name: from === undefined ? 'now' : 'before', of: ({ before }) => before ?? '–', right: true },
  { name: 'becomes', of: ({ after }) => after, right: true },
];

const nameOf = ({ priceVersion }: PriceView): string => priceVersion;

/** What was added holds until then, and nobody would be told at that moment. */
const announcedWords = ({ effectiveFrom, priceVersion, inputUsd, outputUsd }: PriceView): string =>
  `From ${sinceWords(effectiveFrom)} on ${priceVersion} holds, as was announced before: ${usd(inputUsd)} in, ${usd(outputUsd)} out. ` +
  'To change that, add a version with a later --from.';

/** Left-out models that are named to a person; `--json` names all. */
const namedMax = 10;

const rate = (text: string): string => {
  if (ratePattern.test(text)) return text;
  throw new InvalidArgumentError('It must be US dollars per million tokens, such as 1.25, with six decimals at most.');
};
interface SetOptions {
  provider?: string;
  input?: string;
  output?: string;
  cacheRead?: string;
  cacheWrite5m?: string;
  cacheWrite1h?: string;
  webSearch?: string;
  source: string;
  sourceDate?: string;
  from?: string;
  notes?: string;
  json?: boolean;
}

interface ImportOptions {
  model?: string;
  known?: boolean;
  source?: string;
  sourceDate?: string;
  from?: string;
  yes?: boolean;
  json?: boolean;
}

export function pricesCommands(): Command {
  const prices = new Command('prices').description('what models and sandboxes cost');
  const list = prices
    .command('list')
    .description('the prices in force, per million tokens')
    .option('--model <name>', 'those whose name contains this')
    .option('--all', 'every version, also past and announced ones');
  example(list, 'prices list --model gpt').action(
    async ({ model = '', all = false, json = false }: { model?: string; all?: boolean; json?: boolean }) => {
      const answer = await client().prices.list({ all });
      const wanted = answer.prices.filter((price) => price.model.includes(model));
      show(json, { ...answer, prices: wanted }, () =>
        table(columns, wanted, 'There are no prices like that. Names must match exactly; `prices set` adds one.'),
      );
    },
  );
  addSet(prices);
  addImport(prices);
  addSandboxPriceCommands(prices);
  return prices;
}

function addSet(prices: Command): void {
  const set = prices
    .command('set <model>')
    .description('adds a version of a price; what is not given stays as it is. The next call uses it')
    .option('--provider <name>', 'for a model without a price yet: anthropic, openai, google')
    .option('--input <usd>', 'per million tokens', rate)
    .option('--output <usd>', 'per million tokens', rate)
    .option('--cache-read <usd>', 'per million tokens', rate)
    .option('--cache-write5m <usd>', 'per million tokens kept for five minutes', rate)
    .option('--cache-write1h <usd>', 'per million tokens kept for an hour', rate)
    .option('--web-search <usd>', 'per thousand searches', rate)
    .requiredOption('--source <url>', 'who published the figures')
    .option('--source-date <day>', 'when the source said so; today when absent', day)
    .option('--from <moment>', 'when it begins to hold; now when absent', moment)
    .option('--notes <words>', 'what a reader should know');
  example(
    set,
    'prices set gpt-99 --provider openai --input 1.25 --output 10 --source https://platform.openai.com/docs/pricing',
  ).action(setPrice);
}

function addImport(prices: Command): void {
  const fromFile = prices
    .command('import <file>')
    .description("takes prices from LiteLLM's model_prices_and_context_window.json; shows what would change first")
    .option('--model <name>', 'those whose name contains this')
    .option('--known', 'only models that have a price already')
    .option('--source <url>', 'who published the figures, for entries of the file that do not say so')
    .option('--source-date <day>', 'when the file was read from its publisher; today when absent', day)
    .option('--from <moment>', 'when the prices begin to hold; now when absent', moment)
    .option('--yes', 'write without asking');
  example(fromFile, 'prices import model_prices_and_context_window.json --known').action(importPrices);
}

const addPrices = (prices: PriceFacts[]): Promise<{ priceVersions: string[] }> =>
  client().prices.add({ prices, author: author() });

async function setPrice(model: string, options: SetOptions): Promise<void> {
  const { provider, input, output, cacheRead, cacheWrite5m, cacheWrite1h, webSearch, source, from, notes } = options;
  const versions = await priceVersionsAt(from);
  const current = versions.current(model);
  if (!current && (provider === undefined || input === undefined || output === undefined)) {
    throw new CommandError(
      `${model} has no price yet: it needs --provider, --input and --output. Names must match exactly. Nothing was changed.`,
    );
  }
  const named = {
    provider: provider ?? current?.provider ?? '',
    model,
    ...omitUndefined({
      inputUsd: input,
      outputUsd: output,
      cacheReadUsd: cacheRead,
      cacheWrite5mUsd: cacheWrite5m,
      cacheWrite1hUsd: cacheWrite1h,
      webSearchPerThousandUsd: webSearch,
    }),
  };
  const price: PriceFacts = {
    ...mergePrice(current, named),
    source,
    sourceDate: options.sourceDate ?? today(),
    ...omitUndefined({ effectiveFrom: from, notes }),
  };
  const changes = changesBetween(current, price);
  const announced = versions.announced([model]);
  const { priceVersions } = await addPrices([price]);
  show(options.json ?? false, { priceVersions, changes, announced: announced.map(nameOf) }, () =>
    [
      table(changeColumns(from), changes, 'The same rates as before.'),
      `Added ${priceVersions.join(', ')}.`,
      ...announced.map(announcedWords),
    ].join('\n'),
  );
}

async function importPrices(name: string, options: ImportOptions): Promise<void> {
  const { model = '', known: onlyKnown = false, json = false, yes = false } = options;
  const file = readPriceFile((await readNamed(name)).toString('utf8'));
  const versions = await priceVersionsAt(options.from);
  const named = file.prices.filter(
    (price) => price.model.includes(model) && (!onlyKnown || versions.current(price.model)),
  );
  const leftOut = file.leftOut.filter((one) => one.model.includes(model));
  const additions: PriceFacts[] = [];
  const changes: PriceChange[] = [];
  for (const { source = options.source, ...priced } of named) {
    const before = versions.current(priced.model);
    const price = mergePrice(before, priced);
    const changed = changesBetween(before, price);
    if (changed.length === 0) continue;
    if (source === undefined) {
      leftOut.push({ model: priced.model, reason: 'the file names no source for it; --source says who published it' });
      continue;
    }
    additions.push({
      ...price,
      source,
      sourceDate: options.sourceDate ?? today(),
      ...omitUndefined({ effectiveFrom: options.from }),
    });
    changes.push(...changed);
  }
  const announced = versions.announced(additions.map((price) => price.model));
  const summary = {
    ...{ read: named.length, changed: additions.length, leftOut, otherEntries: file.otherEntries },
    ...{ changes, announced: announced.map(nameOf) },
  };
  // Before anything is written, what would be.
  if (!json) console.log([words(summary, options.from), ...announced.map(announcedWords)].join('\n'));
  const write = additions.length > 0 && (yes || (!json && (await agreed(additions.length))));
  const { priceVersions } = write ? await addPrices(additions) : { priceVersions: [] };
  show(json, { ...summary, priceVersions }, () => {
    if (write) return `Added ${counted(priceVersions.length, 'version')}.`;
    return additions.length === 0 ? 'Nothing to write.' : 'Nothing was written; --yes writes it.';
  });
}

interface Summary {
  read: number;
  changed: number;
  leftOut: PriceFile['leftOut'];
  otherEntries: number;
  changes: PriceChange[];
}

function words({ read, changed, leftOut, otherEntries, changes }: Summary, from: string | undefined): string {
  const more = leftOut.length - namedMax;
  return [
    table(changeColumns(from), changes, 'No price differs.'),
    `${counted(read, 'model')} read, ${changed} of them new or changed; ${counted(otherEntries, 'entry', 'entries')} of other providers or kinds.`,
    ...leftOut.slice(0, namedMax).map((one) => `left out: ${one.model}: ${one.reason}`),
    ...(more > 0 ? [`left out: ${more} more (--json names them)`] : []),
  ].join('\n');
}

/** Asks a person; where nobody sits the answer is no. */
async function agreed(count: number): Promise<boolean> {
  if (!process.stdin.isTTY) return false;
  const line = createInterface({ input: process.stdin, output: process.stdout });
  const answer = await line.question(`Add ${counted(count, 'price version')}? (y/N) `);
  line.close();
  return /^y(es)?$/i.test(answer.trim());
}
