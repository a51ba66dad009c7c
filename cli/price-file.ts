/**
 * Reading a public price file: LiteLLM's `model_prices_and_context_window.json`, the most widely kept list. It states dollars
 * per single token as JSON numbers. A number is read as the decimal that was written, never calculated with as a float.
 *
 * What cannot be stated exactly here is left out with the reason, never guessed.
 */
import { parseUsd } from '../core/money';

/** Dollars per million tokens as decimal strings. What is absent the file does not say. */
export interface FileRates {
  inputUsd?: string;
  outputUsd?: string;
  cacheReadUsd?: string;
  cacheWrite5mUsd?: string;
  cacheWrite1hUsd?: string;
}

/** What a file says of one model. */
export interface FilePrice extends FileRates {
  provider: string;
  model: string;
  longContext?: FileRates & { thresholdTokens: number };
  webSearchPerThousandUsd?: string;
  multipliers?: {
    serviceTier?: Record<string, string>;
    speed?: Record<string, string>;
    inferenceGeo?: Record<string, string>;
  };
  source?: string;
}

export interface PriceFile {
  prices: FilePrice[];
  /** Models of our providers that the file prices in a way that cannot be taken. */
  leftOut: { model: string; reason: string }[];
  /** Entries of other providers and of other kinds, such as images. */
  otherEntries: number;
}

/** The file is none, or of a format that is not known. */
export class PriceFileError extends Error {
  override readonly name = 'PriceFileError';
}

/** The providers that prices are kept of, by their names in the file. */
const providers: Record<string, string> = { openai: 'openai', anthropic: 'anthropic', gemini: 'google' };
const textModes = new Set(['chat', 'completion', 'responses']);

const rateFields: Record<keyof FileRates, string> = {
  inputUsd: 'input_cost_per_token',
  outputUsd: 'output_cost_per_token',
  cacheReadUsd: 'cache_read_input_token_cost',
  cacheWrite5mUsd: 'cache_creation_input_token_cost',
  cacheWrite1hUsd: 'cache_creation_input_token_cost_above_1hr',
};
type Entry = Record<string, unknown>;

/** An entry cannot be taken, and why. */
class Unusable extends Error {}

/** @throws PriceFileError when it is no such file. */
export function readPriceFile(text: string): PriceFile {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new PriceFileError(`The file is no JSON (${(error as Error).message}). Nothing was changed.`);
  }
  const entries = typeof json === 'object' && json !== null && !Array.isArray(json) ? Object.entries(json) : [];
  const file: PriceFile = { prices: [], leftOut: [], otherEntries: 0 };
  for (const [name, value] of entries) {
    const entry = (typeof value === 'object' && value !== null ? value : {}) as Entry;
    const provider = providers[String(entry.litellm_provider)];
    if (provider === undefined || !textModes.has(String(entry.mode))) {
      file.otherEntries += 1;
      continue;
    }
    const model = name.replace(/^(gemini|openai|anthropic)\//, '');
    try {
      const price = priceFrom(entry, { provider, model });
      const twice = file.prices.find((other) => other.model === model);
      if (!twice) file.prices.push(price);
      else if (JSON.stringify(twice) !== JSON.stringify(price))
        file.leftOut.push({ model: name, reason: 'the file has it twice with different prices; the first counts' });
    } catch (error) {
      if (!(error instanceof Unusable)) throw error;
      file.leftOut.push({ model: name, reason: error.message });
    }
  }
  if (file.prices.length + file.leftOut.length > 0) return file;
  throw new PriceFileError(
    "The file has no prices that are understood: LiteLLM's model_prices_and_context_window.json is. Nothing was changed.",
  );
}

function priceFrom(entry: Entry, { provider, model }: { provider: string; model: string }): FilePrice {
  const rates = ratesFrom(entry, '');
  if (rates.inputUsd === undefined || rates.outputUsd === undefined)
    throw new Unusable('it has no rate for input or for output');
  if (entry.tiered_pricing !== undefined) throw new Unusable('its rates come in several tiers');
  const reasoning = rateOf(entry, 'output_cost_per_reasoning_token');
  if (reasoning !== undefined && reasoning !== rates.outputUsd)
    throw new Unusable('thinking has a rate of its own, and it is counted as output here');
  const longContext = longContextFrom(entry);
  const webSearchPerThousandUsd = webSearchFrom(entry);
  const multipliers = multipliersFrom(entry, rates);
  return {
    provider,
    model,
    ...rates,
    ...(longContext ? { longContext } : {}),
    ...(webSearchPerThousandUsd === undefined ? {} : { webSearchPerThousandUsd }),
    ...(multipliers ? { multipliers } : {}),
    ...(typeof entry.source === 'string' && entry.source !== '' ? { source: entry.source } : {}),
  };
}

function ratesFrom(entry: Entry, suffix: string): FileRates {
  const found = Object.entries(rateFields).map(([name, field]) => [name, rateOf(entry, `${field}${suffix}`)]);
  return Object.fromEntries(found.filter(([, rate]) => rate !== undefined)) as FileRates;
}

/** A rate per token, as one per million. */
const rateOf = (entry: Entry, field: string): string | undefined => decimalOf(entry[field], { field, shift: 6 });

function longContextFrom(entry: Entry): FilePrice['longContext'] {
  const found = Object.keys(entry).map((field) => /^input_cost_per_token_above_(\d+)k_tokens$/.exec(field)?.[1]);
  const thresholds = found.filter((threshold) => threshold !== undefined);
  if (thresholds.length === 0) return undefined;
  if (thresholds.length > 1) throw new Unusable('its long prompts have more than one threshold');
  const rates = ratesFrom(entry, `_above_${thresholds[0]}k_tokens`);
  if (rates.outputUsd === undefined) throw new Unusable('its long prompts have no rate for output');
  return { thresholdTokens: Number(thresholds[0]) * 1_000, ...rates };
}

/** One price of a search, whatever its context; several have no place here. */
function webSearchFrom({ search_context_cost_per_query: costs }: Entry): string | undefined {
  if (typeof costs !== 'object' || costs === null) return undefined;
  const each = new Set(Object.values(costs).map((cost) => decimalOf(cost, { field: 'web search', shift: 3 })));
  return each.size === 1 ? [...each][0] : undefined;
}

/** Factors that hold alike for every token rate; `provider_specific_entry` states them as they are. */
function multipliersFrom(entry: Entry, rates: FileRates): FilePrice['multipliers'] {
  const serviceTier: Record<string, string> = {};
  for (const [tier, suffix] of [
    ['batch', '_batches'],
    ['flex', '_flex'],
    ['priority', '_priority'],
  ] as const) {
    const factor = factorBetween(rates, ratesFrom(entry, suffix));
    if (factor !== undefined) serviceTier[tier] = factor;
  }
  const own = (entry.provider_specific_entry ?? {}) as Entry;
  const factor = (name: string): string | undefined => decimalOf(own[name], { field: name, shift: 0 });
  const [fast, us] = [factor('fast'), factor('us')];
  const multipliers = {
    ...(Object.keys(serviceTier).length > 0 ? { serviceTier } : {}),
    ...(fast === undefined ? {} : { speed: { fast } }),
    ...(us === undefined ? {} : { inferenceGeo: { us } }),
  };
  return Object.keys(multipliers).length > 0 ? multipliers : undefined;
}

/** The one factor, of six decimals at most, between all rates that both have; undefined when there is none. */
function factorBetween(base: FileRates, other: FileRates): string | undefined {
  if (other.inputUsd === undefined || other.outputUsd === undefined) return undefined;
  const factors = new Set<string | undefined>();
  for (const name of Object.keys(other) as (keyof FileRates)[]) {
    const [from, to] = [base[name], other[name]].map((rate) => (rate === undefined ? undefined : parseUsd(rate)));
    if (from === 0n && to === 0n) continue;
    const scaled = from === undefined || from === 0n || to === undefined ? undefined : to * 1_000_000n;
    factors.add(
      scaled === undefined || from === undefined || scaled % from !== 0n ? undefined : place(String(scaled / from), -6),
    );
  }
  const [only] = factors;
  return factors.size === 1 && only !== '0' ? only : undefined;
}

/** A number of the file times a power of ten, as a plain decimal of six decimals at most. */
function decimalOf(value: unknown, { field, shift }: { field: string; shift: number }): string | undefined {
  if (value === undefined || value === null) return undefined;
  // The shortest decimal that is this number: what was written, up to 15 digits.
  const match = /^(\d+)(?:[.](\d+))?(?:e([+-]\d+))?$/.exec(typeof value === 'number' ? String(value) : '');
  if (!match) throw new Unusable(`${field} is ${JSON.stringify(value)}, which is no rate`);
  const [, whole = '', decimals = '', exponent = '0'] = match;
  const text = place(`${whole}${decimals}`, Number(exponent) + shift - decimals.length);
  const [before = '', after = ''] = text.split('.');
  if (after.length > 6) throw new Unusable(`${field} is ${JSON.stringify(value)}, finer than a price can be here`);
  if (before.length > 6) throw new Unusable(`${field} is ${JSON.stringify(value)}, absurdly large`);
  return text;
}

/** Digits times a power of ten, as a plain decimal without needless zeros. */
function place(digits: string, exponent: number): string {
  const shifted = exponent >= 0 ? digits + '0'.repeat(exponent) : digits.padStart(1 - exponent, '0');
  const cut = exponent >= 0 ? shifted.length : shifted.length + exponent;
  const whole = shifted.slice(0, cut).replace(/^0+(?=\d)/, '');
  const decimals = shifted.slice(cut).replace(/0+$/, '');
  return decimals === '' ? whole : `${whole}.${decimals}`;
}
