/**
 * What a model call costs, exactly, and what it may cost at most.
 *
 * A rate per million tokens is a whole number of pico-dollars per token, so a cost needs no rounding. A factor (batch,
 * fast mode, a region) can leave a fraction of a pico-dollar: each line then rounds up to the next one. An estimate
 * rounds the factored rate per token up before it multiplies, so it is never below the cost that it stands for.
 */
import { divideRoundUp, maxUsd, sumUsd, type Usd } from '../money';
import { latestAt, reduced, type Fraction, type ModelPrice, type TokenRates } from './prices';
import { openAiRegion, regionalFactorOf } from './regions-openai';
import {
  checkCount,
  checkUsage,
  MAX_COUNT,
  promptTokens,
  type CacheTtl,
  type ModelUsage,
  type TokenCounts,
  type UsageModifiers,
} from './usage';

export type CostKind = 'input' | 'output' | 'cache_read' | 'cache_write_5m' | 'cache_write_1h' | 'web_search';

/** One line of a bill. */
export interface CostLine {
  kind: CostKind;
  /** Tokens, or searches. */
  quantity: number;
  /** USD per million tokens, or per thousand searches, before any factor. */
  rateUsd: Usd;
  amountUsd: Usd;
}

/** What a call cost, and how that comes about: the lines add up to it. Kinds that were not used have no line. */
export interface Cost {
  costUsd: Usd;
  lines: CostLine[];
}

/** The call used something that its model's price says nothing about. Its cost is unknown, not zero. */
export class UnpricedUsageError extends Error {
  override readonly name = 'UnpricedUsageError';
  readonly code = 'unpriced_usage';
  constructor(price: ModelPrice, what: string) {
    super(
      `The price ${price.priceVersion} has no rate for ${what}. A planned call is not made; a call that was made is ` +
        'settled at its estimate until its cost is corrected. Add a version of the price that has the rate, or ask for the standard.',
    );
  }
}

const tokensPerRate = 1_000_000n;
const searchesPerRate = 1_000n;

const kindNames: Record<CostKind, string> = {
  input: 'input tokens',
  output: 'output tokens',
  cache_read: 'tokens read from a cache',
  cache_write_5m: 'tokens written to a cache for five minutes',
  cache_write_1h: 'tokens written to a cache for an hour',
  web_search: 'web searches',
};

/** Where the prices of other models are looked up: a call may have been served by several. */
export interface PriceBook {
  prices: readonly ModelPrice[];
  at: Date | number;
}

/** What a call cost as far as there are prices, and the first thing that has none. */
export interface Bill extends Cost {
  unpriced: UnpricedUsageError | undefined;
}

/**
 * The exact cost of a call. Usage of zero costs nothing. A prompt above the long-context threshold pays the higher
 * rates for all of its request; a compaction inside the call is a request of its own, and so is what another model
 * served, at that model's price.
 * @param book prices of other models; without it, usage of one is refused.
 * @throws UnpricedUsageError for a modifier, a model or a kind of use that there is no rate for.
 * @throws UsageError for counts that are no counts.
 */
export function costOfUsage(price: ModelPrice, usage: ModelUsage, book?: PriceBook): Cost {
  const { unpriced, ...cost } = billOf(price, usage, book);
  if (unpriced) throw unpriced;
  return cost;
}

/** As {@link costOfUsage}, but leaves out what has no rate. @throws UsageError for counts that are no counts. */
export function billOf(price: ModelPrice, usage: ModelUsage, book?: PriceBook): Bill {
  checkUsage(usage);
  const lines: CostLine[] = [];
  let unpriced: UnpricedUsageError | undefined;
  const add = (line: () => CostLine | undefined): void => {
    try {
      const priced = line();
      if (priced) lines.push(priced);
    } catch (error) {
      if (!(error instanceof UnpricedUsageError)) throw error;
      unpriced ??= error;
    }
  };
  const addTokens = (of: ModelPrice, counts: TokenCounts): void => {
    for (const used of tokensUsed(of, counts)) add(() => tokenLine(of, used, usage.modifiers));
  };
  // Also of usage of zero: what it was served with has to be known.
  add(() => void factorOf(price, usage.modifiers));
  for (const counts of [usage, ...usage.compactions]) addTokens(price, counts);
  for (const counts of usage.otherModels ?? []) {
    const found = findOther(price, counts.model, book);
    if (found) addTokens(found, counts);
    else unpriced ??= new UnpricedUsageError(price, `${JSON.stringify(counts.model)}, which served a part of the call`);
  }
  if (usage.webSearchRequests > 0) add(() => searchLine(price, usage.webSearchRequests));
  const [tool] = Object.entries(usage.otherTools ?? {}).find(([, count]) => count > 0) ?? [];
  if (tool !== undefined) unpriced ??= new UnpricedUsageError(price, nameOfOther(tool));
  return { costUsd: sumUsd(lines.map((line) => line.amountUsd)), lines, unpriced };
}

/** A tool, or tokens that are no text: `audio_input`. */
function nameOfOther(tool: string): string {
  const [, modality, side] = /^([a-z]+)_(input|output)$/.exec(tool) ?? [];
  return modality === undefined ? `the provider's tool ${tool}` : `${modality} ${side} tokens`;
}

const findOther = ({ provider }: ModelPrice, model: string, book: PriceBook | undefined): ModelPrice | undefined =>
  book &&
  latestAt(
    book.prices.filter((candidate) => candidate.provider === provider && candidate.model === model),
    book.at,
  );

function searchLine(price: ModelPrice, quantity: number): CostLine {
  const rateUsd = rateFor(price, 'web_search', price.webSearchPerThousandUsd);
  return { kind: 'web_search', quantity, rateUsd, amountUsd: (BigInt(quantity) * rateUsd) / searchesPerRate };
}

interface TokensUsed {
  kind: CostKind;
  quantity: number;
  rate: Usd | undefined;
}

function tokensUsed({ rates: plain, longContext }: ModelPrice, counts: TokenCounts): TokensUsed[] {
  const isLong = longContext !== undefined && promptTokens(counts) > longContext.thresholdTokens;
  const rates = isLong ? longContext.rates : plain;
  const all: TokensUsed[] = [
    { kind: 'input', quantity: counts.inputTokens, rate: rates.inputUsd },
    { kind: 'cache_read', quantity: counts.cacheReadTokens, rate: rates.cacheReadUsd },
    { kind: 'cache_write_5m', quantity: counts.cacheWrite5mTokens, rate: rates.cacheWrite5mUsd },
    { kind: 'cache_write_1h', quantity: counts.cacheWrite1hTokens, rate: rates.cacheWrite1hUsd },
    { kind: 'output', quantity: counts.outputTokens, rate: rates.outputUsd },
  ];
  return all.filter(({ quantity }) => quantity > 0);
}

function tokenLine(price: ModelPrice, { kind, quantity, rate }: TokensUsed, modifiers: UsageModifiers): CostLine {
  const factor = factorOf(price, modifiers);
  const rateUsd = rateFor(price, kind, rate);
  const dividend = BigInt(quantity) * rateUsd * factor.numerator;
  const amountUsd = divideRoundUp({ dividend, divisor: tokensPerRate * factor.denominator });
  return { kind, quantity, rateUsd, amountUsd };
}

function rateFor(price: ModelPrice, kind: CostKind, rate: Usd | undefined): Usd {
  if (rate === undefined) throw new UnpricedUsageError(price, kindNames[kind]);
  return rate;
}

/** The product of the factors that the call's modifiers stand for. */
function factorOf(price: ModelPrice, modifiers: UsageModifiers): Fraction {
  let factor: Fraction = { numerator: 1n, denominator: 1n };
  for (const name of ['serviceTier', 'speed', 'inferenceGeo'] as const) {
    const value = modifiers[name];
    if (value === undefined) continue;
    const factors = price.multipliers[name];
    const next = Object.hasOwn(factors, value) ? factors[value] : publishedFactor(price, value);
    if (next === undefined) throw new UnpricedUsageError(price, `${name} ${JSON.stringify(value)}`);
    factor = reduced({
      numerator: factor.numerator * next.numerator,
      denominator: factor.denominator * next.denominator,
    });
  }
  return factor;
}

/** A factor that holds for all prices of a provider, where a price has none of its own. */
const publishedFactor = ({ provider, model }: ModelPrice, value: string): Fraction | undefined =>
  provider === 'openai' && value === openAiRegion ? regionalFactorOf(model) : undefined;

/** The choice of a kind that costs most, for an estimate of a call that leaves it open; none where all cost the standard. */
export function dearestModifiers(price: ModelPrice, kind: keyof UsageModifiers): UsageModifiers {
  let dearest: { value: string; factor: Fraction } | undefined;
  for (const [value, factor] of Object.entries(price.multipliers[kind])) {
    const than = dearest?.factor ?? { numerator: 1n, denominator: 1n };
    if (factor.numerator * than.denominator > than.numerator * factor.denominator) dearest = { value, factor };
  }
  return dearest ? { [kind]: dearest.value } : {};
}

/** What is known of a call before it is made. */
export interface PlannedCall {
  /** All tokens of the prompt, cached or not. An estimate of the caller's should err on the high side. */
  inputTokens: number;
  /** The longest lifetime that the request asks a cache to keep something for; absent when it asks for none. */
  cacheWriteTtl?: CacheTtl | undefined;
  /** Most web searches that the request allows. */
  maxWebSearches?: number;
  /** What the request asks for; absent means the standard, which the request should then insist on. */
  modifiers?: UsageModifiers;
  /** So many times the rates it may cost at most for what it leaves open and the price has no factor for. */
  openFactor?: Fraction;
}

interface UpperBound {
  /** Prompt and searches. */
  fixedUsd: Usd;
  perOutputTokenUsd: Usd;
}

/**
 * The dearest that the planned call can be: every prompt token at the dearest kind that may apply to it, at the
 * long-context rates when the prompt can cross the threshold. Providers other than Anthropic write to
 * their caches without being asked.
 */
function upperBound(price: ModelPrice, call: PlannedCall): UpperBound {
  checkCount(call.inputTokens, 'inputTokens');
  const searches = checkCount(call.maxWebSearches ?? 0, 'maxWebSearches');
  const known = factorOf(price, call.modifiers ?? {});
  const { numerator, denominator } = call.openFactor ?? { numerator: 1n, denominator: 1n };
  const factor = { numerator: known.numerator * numerator, denominator: known.denominator * denominator };
  const tiers = [price.rates];
  if (price.longContext !== undefined && call.inputTokens > price.longContext.thresholdTokens) {
    tiers.push(price.longContext.rates);
  }
  const perToken = (rates: readonly Usd[]): Usd => {
    const [first = 0n, ...rest] = rates;
    return divideRoundUp({
      dividend: maxUsd(first, ...rest) * factor.numerator,
      divisor: tokensPerRate * factor.denominator,
    });
  };
  const searchRateUsd = searches === 0 ? 0n : rateFor(price, 'web_search', price.webSearchPerThousandUsd);
  return {
    fixedUsd:
      BigInt(call.inputTokens) * perToken(tiers.flatMap((rates) => promptRates(price, rates, call.cacheWriteTtl))) +
      (BigInt(searches) * searchRateUsd) / searchesPerRate,
    perOutputTokenUsd: perToken(tiers.map((rates) => rates.outputUsd)),
  };
}

function promptRates(price: ModelPrice, rates: TokenRates, ttl: CacheTtl | undefined): Usd[] {
  const writes: (Usd | undefined)[] = [];
  if (ttl !== undefined || price.provider !== 'anthropic') writes.push(rates.cacheWrite5mUsd);
  if (ttl === '1h') writes.push(rates.cacheWrite1hUsd);
  return [rates.inputUsd, rates.cacheReadUsd, ...writes].filter((rate) => rate !== undefined);
}

/**
 * An upper bound on what a call costs, for its reservation. It holds while the call stays within the given counts and
 * within what `PlannedCall` says; compactions inside the call are not part of it.
 * @throws UnpricedUsageError for a modifier or searches that the price has no rate for.
 * @throws UsageError for counts that are no counts.
 */
export function estimateModelCall(price: ModelPrice, call: PlannedCall & { maxOutputTokens: number }): Usd {
  const bound = upperBound(price, call);
  return bound.fixedUsd + BigInt(checkCount(call.maxOutputTokens, 'maxOutputTokens')) * bound.perOutputTokenUsd;
}

/**
 * The largest `max_tokens` whose estimate fits a budget, for a call that was granted less than it asked for; 0 when not
 * even one token fits. A model whose output is free is bounded by {@link MAX_COUNT} alone.
 */
export function maxOutputTokensFor(price: ModelPrice, call: PlannedCall & { budgetUsd: Usd }): number {
  const bound = upperBound(price, call);
  const leftUsd = call.budgetUsd - bound.fixedUsd;
  if (leftUsd < 0n) return 0;
  if (bound.perOutputTokenUsd === 0n) return MAX_COUNT;
  const tokens = leftUsd / bound.perOutputTokenUsd;
  return tokens > BigInt(MAX_COUNT) ? MAX_COUNT : Number(tokens);
}
