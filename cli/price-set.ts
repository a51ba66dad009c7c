/** `npx spendlock prices set`: a version of one price, of what is said and of what holds. */
import { InvalidArgumentError, Option, type Command } from 'commander';
import { omitUndefined } from '../core/omit-undefined';
import { ratePattern } from '../core/prices/prices';
import { CommandError } from './failures';
import { addSource, example, today, whole } from './options';
import { show, table } from './output';
import { changesBetween, mergePrice, type PriceFacts } from './price-changes';
import type { FilePrice } from './price-file';
import { priceVersionsAt } from './price-versions';
import { addPrices, announcedWords, changeColumns, nameOf } from './price-words';

const rate = (text: string): string => {
  if (ratePattern.test(text)) return text;
  throw new InvalidArgumentError('It must be US dollars per million tokens, such as 1.25, with six decimals at most.');
};

/** `batch=0.5`, and what was said of others before. */
function factor(text: string, before: Factors = {}): Factors {
  const [, of = '', by = ''] = /^([A-Za-z0-9][^=]{0,39})=(\d+(?:[.]\d+)?)$/.exec(text) ?? [];
  if (!(Number(by) > 0)) throw new InvalidArgumentError('It must be a name and a factor above 0, such as batch=0.5.');
  return { ...before, [of]: by };
}

type Factors = Record<string, string>;

interface SetOptions {
  serviceTier?: Factors;
  speed?: Factors;
  inferenceGeo?: Factors;
  longContext?: number;
  longInput?: string;
  longOutput?: string;
  longCacheRead?: string;
  longCacheWrite5m?: string;
  longCacheWrite1h?: string;
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

export function addPriceSet(prices: Command): void {
  const set = prices
    .command('set <model>')
    .description('adds a version of a price; what is not given stays as it is. The next call uses it')
    .addOption(
      new Option('--provider <name>', 'for a model without a price yet').choices(['anthropic', 'openai', 'google']),
    )
    .option('--input <usd>', 'per million tokens', rate)
    .option('--output <usd>', 'per million tokens', rate)
    .option('--cache-read <usd>', 'per million tokens', rate)
    .option('--cache-write5m <usd>', 'per million tokens kept for five minutes', rate)
    .option('--cache-write1h <usd>', 'per million tokens kept for an hour', rate)
    .option('--web-search <usd>', 'per thousand searches', rate)
    .option('--service-tier <tier=factor>', 'on every token rate, such as batch=0.5; may be said again', factor)
    .option('--speed <speed=factor>', 'the same, such as fast=6', factor)
    .option('--inference-geo <place=factor>', 'the same, such as us=1.1', factor)
    .option('--long-context <tokens>', 'a longer prompt has the next rates for all of it', whole(1, 2_147_483_647))
    .option('--long-input <usd>', 'of a long prompt, per million tokens', rate)
    .option('--long-output <usd>', 'of a long prompt, per million tokens', rate)
    .option('--long-cache-read <usd>', 'of a long prompt, per million tokens', rate)
    .option('--long-cache-write5m <usd>', 'of a long prompt, per million tokens', rate)
    .option('--long-cache-write1h <usd>', 'of a long prompt, per million tokens', rate);
  addSource(set);
  example(
    set,
    'prices set gpt-99 --provider openai --input 1.25 --output 10 --source https://platform.openai.com/docs/pricing',
    'prices set gpt-99 --service-tier batch=0.5 --service-tier priority=2 --inference-geo eu=1.1 --source https://platform.openai.com/docs/pricing',
  ).action(setPrice);
}

/** What is said of factors and of long prompts. @throws InvalidArgumentError where rates of long prompts have no threshold, or less than it needs. */
function moreOf(options: SetOptions, current: PriceFacts | undefined): Pick<FilePrice, 'longContext' | 'multipliers'> {
  const { serviceTier, speed, inferenceGeo, longContext: from } = options;
  const rates = omitUndefined({
    inputUsd: options.longInput,
    outputUsd: options.longOutput,
    cacheReadUsd: options.longCacheRead,
    cacheWrite5mUsd: options.longCacheWrite5m,
    cacheWrite1hUsd: options.longCacheWrite1h,
  });
  const multipliers = omitUndefined({ serviceTier, speed, inferenceGeo });
  if (from === undefined && Object.keys(rates).length === 0) return { multipliers };
  const thresholdTokens = from ?? current?.longContext?.thresholdTokens;
  const { inputUsd, outputUsd } = { ...current?.longContext, ...rates };
  if (thresholdTokens === undefined || inputUsd === undefined || outputUsd === undefined)
    throw new InvalidArgumentError(
      'Rates of long prompts need --long-context, --long-input and --long-output, where the price has none yet.',
    );
  return { multipliers, longContext: { thresholdTokens, ...rates } };
}

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
    ...moreOf(options, current),
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
