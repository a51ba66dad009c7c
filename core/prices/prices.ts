/**
 * What things cost. A price is a version: it holds from its moment on until a later version of the same name, and is
 * never changed, so that every ledger line can be checked against the version that it names.
 */
import { formatUsd, MoneyError, parseAmountUsd, PICO_PER_USD, USD_DECIMALS, type Usd } from '../money';

/** An exact factor on a price, such as 11/10. */
export interface Fraction {
  numerator: bigint;
  denominator: bigint;
}

/** USD per million tokens. A kind without a rate cannot be billed: having none is not the same as 0. */
export interface TokenRates {
  inputUsd: Usd;
  outputUsd: Usd;
  cacheReadUsd: Usd | undefined;
  cacheWrite5mUsd: Usd | undefined;
  cacheWrite1hUsd: Usd | undefined;
}

/** Factors on every token rate, by what the request chose. A choice that is not listed has no price. */
export interface Multipliers {
  serviceTier: Readonly<Record<string, Fraction>>;
  speed: Readonly<Record<string, Fraction>>;
  inferenceGeo: Readonly<Record<string, Fraction>>;
}

/** One version of one model's price. */
export interface ModelPrice {
  priceVersion: string;
  provider: string;
  /** The exact name in the provider's API. */
  model: string;
  effectiveFromMs: number;
  rates: TokenRates;
  /** A prompt of more tokens than the threshold, cached ones included, pays these rates for the whole request. */
  longContext: { thresholdTokens: number; rates: TokenRates } | undefined;
  multipliers: Multipliers;
  webSearchPerThousandUsd: Usd | undefined;
  notes: string;
  source: string;
  /** The day on which the source said so, `YYYY-MM-DD`. */
  sourceDate: string;
}

/** A row of `copilot_internal.model_prices`: amounts as decimal strings, moments as Date or ISO 8601. */
export interface ModelPriceRow {
  price_version: string;
  provider: string;
  model: string;
  effective_from: Date | string;
  input_usd_per_mtok: string;
  output_usd_per_mtok: string;
  cache_read_usd_per_mtok: string | null;
  cache_write_5m_usd_per_mtok: string | null;
  cache_write_1h_usd_per_mtok: string | null;
  long_context_threshold_tokens: number | null;
  long_context_input_usd_per_mtok: string | null;
  long_context_output_usd_per_mtok: string | null;
  long_context_cache_read_usd_per_mtok: string | null;
  long_context_cache_write_5m_usd_per_mtok: string | null;
  long_context_cache_write_1h_usd_per_mtok: string | null;
  web_search_usd_per_thousand: string | null;
  /** `{"serviceTier"|"speed"|"inferenceGeo": {"<value>": "<decimal>"}}` */
  multipliers: unknown;
  notes: string;
  source: string;
  /** `source_date::text`: as a Date it would depend on the reader's time zone. */
  source_date: string;
}

/** A stored price cannot be used: it names no amount, or is finer than a pico-dollar per unit. */
export class PriceError extends Error {
  override readonly name = 'PriceError';
  readonly code = 'invalid_price';
}

/** There is no price for a model. The call is refused before it is made. */
export class UnpricedModelError extends Error {
  override readonly name = 'UnpricedModelError';
  readonly code = 'unpriced_model';
  constructor(
    readonly model: string,
    detail: string,
  ) {
    super(
      `The model ${JSON.stringify(model)} has no price${detail}. No call was made and nothing was reserved. To use it, ` +
        'add its price with `npx spendlock prices set`; docs/prices.md shows how. Names must match exactly.',
    );
  }
}

/** Rates per million tokens have at most six decimals: then each is a whole number of pico-dollars per token. */
const TOKEN_RATE_DECIMALS = 6;

/** A rate as people and files write it: a plain decimal of 0 or more, below 1,000,000, with at most six decimals. */
export const ratePattern = /^(0|[1-9][0-9]{0,5})([.][0-9]{1,6})?$/;

/**
 * Reads the rate of a stored price.
 * @throws PriceError unless it is a plain decimal of 0 or more, with at most `decimals` (by default 6) decimals.
 */
export function parseRate(
  text: string,
  { context, decimals = TOKEN_RATE_DECIMALS }: { context: string; decimals?: number },
): Usd {
  let rate: Usd;
  try {
    rate = parseAmountUsd(text);
  } catch (error) {
    if (!(error instanceof MoneyError)) throw error;
    throw new PriceError(`${context} cannot be used: ${error.message} Insert a corrected version.`);
  }
  if (rate % 10n ** BigInt(USD_DECIMALS - decimals) === 0n) return rate;
  throw new PriceError(
    `${context} cannot be used: ${text} has more than ${decimals} decimals. Insert a corrected version.`,
  );
}

/** Reads a price from its row. @throws PriceError when an amount, a factor or a moment is none. */
export function modelPriceFromRow(row: ModelPriceRow): ModelPrice {
  const context = `The price ${row.price_version}`;
  const optional = (text: string | null): Usd | undefined => (text === null ? undefined : parseRate(text, { context }));
  return {
    priceVersion: row.price_version,
    provider: row.provider,
    model: row.model,
    effectiveFromMs: momentMs(row.effective_from, context),
    rates: {
      inputUsd: parseRate(row.input_usd_per_mtok, { context }),
      outputUsd: parseRate(row.output_usd_per_mtok, { context }),
      cacheReadUsd: optional(row.cache_read_usd_per_mtok),
      cacheWrite5mUsd: optional(row.cache_write_5m_usd_per_mtok),
      cacheWrite1hUsd: optional(row.cache_write_1h_usd_per_mtok),
    },
    longContext: longContextFrom(row, context, optional),
    multipliers: multipliersFrom(row.multipliers, context),
    webSearchPerThousandUsd: optional(row.web_search_usd_per_thousand),
    notes: row.notes,
    source: row.source,
    sourceDate: row.source_date,
  };
}

function longContextFrom(
  row: ModelPriceRow,
  context: string,
  optional: (text: string | null) => Usd | undefined,
): ModelPrice['longContext'] {
  const threshold = row.long_context_threshold_tokens;
  if (threshold === null) return undefined;
  const { long_context_input_usd_per_mtok: input, long_context_output_usd_per_mtok: output } = row;
  if (!Number.isSafeInteger(threshold) || threshold <= 0 || input === null || output === null) {
    throw new PriceError(
      `${context} cannot be used: its long-context rates are incomplete. Insert a corrected version.`,
    );
  }
  return {
    thresholdTokens: threshold,
    rates: {
      inputUsd: parseRate(input, { context }),
      outputUsd: parseRate(output, { context }),
      cacheReadUsd: optional(row.long_context_cache_read_usd_per_mtok),
      cacheWrite5mUsd: optional(row.long_context_cache_write_5m_usd_per_mtok),
      cacheWrite1hUsd: optional(row.long_context_cache_write_1h_usd_per_mtok),
    },
  };
}

function multipliersFrom(value: unknown, context: string): Multipliers {
  const group = (name: keyof Multipliers): Record<string, Fraction> => {
    const factors = (value as Record<string, unknown> | null)?.[name] ?? {};
    return Object.fromEntries(Object.entries(factors).map(([key, text]) => [key, fractionOf(String(text), context)]));
  };
  return { serviceTier: group('serviceTier'), speed: group('speed'), inferenceGeo: group('inferenceGeo') };
}

/** A factor as the decimal that it was read from. */
export const formatFraction = ({ numerator, denominator }: Fraction): string =>
  formatUsd((numerator * PICO_PER_USD) / denominator);

function fractionOf(text: string, context: string): Fraction {
  const scaled = parseRate(text, { context: `${context}, factor ${text},` });
  if (scaled === 0n) throw new PriceError(`${context} cannot be used: a factor is 0. State a free price by its rates.`);
  return reduced({ numerator: scaled, denominator: PICO_PER_USD });
}

/** The fraction in lowest terms. */
export function reduced({ numerator, denominator }: Fraction): Fraction {
  let [a, b] = [numerator, denominator];
  while (b !== 0n) [a, b] = [b, a % b];
  return { numerator: numerator / a, denominator: denominator / a };
}

/** Milliseconds since 1970 of a stored moment. @throws PriceError when it is none. */
export function momentMs(moment: Date | string, context: string): number {
  const ms = new Date(moment).getTime();
  if (Number.isNaN(ms)) throw new PriceError(`${context} cannot be used: ${String(moment)} is no moment.`);
  return ms;
}

/** The version that holds at a moment: the latest that is effective then. */
export function latestAt<P extends { effectiveFromMs: number }>(
  versions: readonly P[],
  at: Date | number,
): P | undefined {
  const atMs = at.valueOf();
  let latest: P | undefined;
  for (const version of versions) {
    if (version.effectiveFromMs > atMs) continue;
    if (latest === undefined || version.effectiveFromMs > latest.effectiveFromMs) latest = version;
  }
  return latest;
}

/**
 * The price of a model at a moment. The name must match exactly: `gpt-4o-mini` is not `gpt-4o`.
 * @throws UnpricedModelError when no version of that very name holds at that moment.
 */
export function findModelPrice(
  prices: readonly ModelPrice[],
  { model, at }: { model: string; at: Date | number },
): ModelPrice {
  const versions = prices.filter((price) => price.model === model);
  const found = latestAt(versions, at);
  if (found !== undefined) return found;
  if (versions.length > 0) {
    const firstMs = Math.min(...versions.map((price) => price.effectiveFromMs));
    throw new UnpricedModelError(model, ` before ${new Date(firstMs).toISOString()}`);
  }
  const alike = prices.map((price) => price.model).filter((name) => name.startsWith(model) || model.startsWith(name));
  const names = [...new Set(alike)].slice(0, 3);
  throw new UnpricedModelError(
    model,
    names.length === 0 ? '' : ` (there is one for ${names.join(', ')}, another name)`,
  );
}
