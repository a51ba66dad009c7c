/** What a new version of a price would change. */
import type { z } from '@hono/zod-openapi';
import type { addPricesBody } from '../api/prices/schemas';
import type { FilePrice, FileRates } from './price-file';

/** A price to be added, as the API takes it. */
export type PriceFacts = z.input<typeof addPricesBody>['prices'][number];

/** One rate, factor or threshold that becomes another. */
export interface PriceChange {
  model: string;
  what: string;
  before: string | null;
  after: string;
}

/** A price without where it comes from. */
export type Rated = Omit<PriceFacts, 'source' | 'sourceDate' | 'effectiveFrom' | 'notes'>;

/** What is given over what holds: a list that does not name a rate does not say that there is none. */
export function mergePrice(current: PriceFacts | undefined, given: Omit<FilePrice, 'source'>): Rated {
  const { provider, model, inputUsd, outputUsd, ...rest } = { ...current, ...given };
  if (inputUsd === undefined || outputUsd === undefined) throw new Error(`${model} has no rate for input or output`);
  const longContext = given.longContext ? { ...current?.longContext, ...given.longContext } : current?.longContext;
  const groups = multiplierNames.filter((group) => current?.multipliers?.[group] ?? given.multipliers?.[group]);
  return {
    provider,
    model,
    inputUsd,
    outputUsd,
    cacheReadUsd: rest.cacheReadUsd ?? null,
    cacheWrite5mUsd: rest.cacheWrite5mUsd ?? null,
    cacheWrite1hUsd: rest.cacheWrite1hUsd ?? null,
    longContext: (longContext as PriceFacts['longContext']) ?? null,
    webSearchPerThousandUsd: rest.webSearchPerThousandUsd ?? null,
    multipliers: Object.fromEntries(
      groups.map((group) => [group, { ...current?.multipliers?.[group], ...given.multipliers?.[group] }]),
    ),
  };
}

const multiplierNames = ['serviceTier', 'speed', 'inferenceGeo'] as const;

const rateNames: Record<keyof FileRates, string> = {
  inputUsd: 'input',
  outputUsd: 'output',
  cacheReadUsd: 'cache read',
  cacheWrite5mUsd: 'cache write 5 min',
  cacheWrite1hUsd: 'cache write 1 h',
};

/** Every figure of a price by its name. */
function figuresOf(price: Rated): Map<string, string> {
  const figures = new Map<string, string>();
  const add = (what: string, value: string | number | null | undefined, unit = '$'): void => {
    if (value != null) figures.set(what, `${unit}${value}`);
  };
  for (const [field, name] of Object.entries(rateNames) as [keyof FileRates, string][]) add(name, price[field]);
  add('long context from', price.longContext?.thresholdTokens, '');
  for (const [field, name] of Object.entries(rateNames) as [keyof FileRates, string][])
    add(`${name}, long context`, price.longContext?.[field]);
  add('1,000 web searches', price.webSearchPerThousandUsd);
  for (const group of multiplierNames)
    for (const [value, factor] of Object.entries(price.multipliers?.[group] ?? {}))
      add(`${group} ${value}`, factor, '×');
  return figures;
}

/** The figures that differ, in the order of a price. */
export function changesBetween(current: Rated | undefined, next: Rated): PriceChange[] {
  const before = current ? figuresOf(current) : new Map<string, string>();
  return [...figuresOf(next)]
    .filter(([what, after]) => before.get(what) !== after)
    .map(([what, after]) => ({ model: next.model, what, before: before.get(what) ?? null, after }));
}
