/** `npx spendlock prices`: what models cost, and new prices from a file. */
import { createInterface } from 'node:readline/promises';
import { Command } from 'commander';
import { counted } from '../core/counted';
import { omitUndefined } from '../core/omit-undefined';
import type { PriceView } from '../client';
import { client } from './api';
import { readNamed } from './files';
import { day, example, moment, today } from './options';
import { show, table, usd, type Column } from './output';
import { changesBetween, mergePrice, type PriceChange, type PriceFacts } from './price-changes';
import { addPriceSet } from './price-set';
import { priceVersionsAt } from './price-versions';
import { addPrices, announcedWords, changeColumns, nameOf, sinceWords } from './price-words';
import { addSandboxPriceCommands } from './sandbox-prices';
import { readPriceFile, type PriceFile } from './price-file';

const columns: Column<PriceView>[] = [
  { name: 'provider', of: ({ provider }) => provider },
  { name: 'model', of: ({ model }) => model },
  { name: 'since (UTC)', of: ({ effectiveFrom }) => sinceWords(effectiveFrom) },
  { name: 'in / Mtok', of: ({ inputUsd }) => usd(inputUsd), right: true },
  { name: 'out / Mtok', of: ({ outputUsd }) => usd(outputUsd), right: true },
  { name: 'cached', of: ({ cacheReadUsd }) => usd(cacheReadUsd), right: true },
  { name: 'as of', of: ({ sourceDate }) => sourceDate },
];

/** Left-out models that are named to a person; `--json` names all. */
const namedMax = 10;

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
  addPriceSet(prices);
  addImport(prices);
  addSandboxPriceCommands(prices);
  return prices;
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
