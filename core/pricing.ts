/**
 * What a model call costs, exactly, and what it may cost at most.
 *
 * A rate per million tokens is a whole number of pico-dollars per token, so a cost needs no rounding. A factor (batch,
 * fast mode, a region) can leave a fraction of a pico-dollar: each line then rounds up to the next one. An estimate
 * rounds the factored rate per token up before it multiplies, so it is never below the cost that it stands for.
 */
import { divideRoundUp, maxUsd, sumUsd, type Usd } from './money';
import { reduced, type Fraction, type ModelPrice, type TokenRates } from './prices';
import {
  checkCount,
  checkUsage,
  MAX_COUNT,
  promptTokens,
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

/**
 * The exact cost of a call. Usage of zero costs nothing. A prompt above the long-context threshold pays the higher
 * rates for all of its request; a compaction inside the call is a request of its own.
 * @throws UnpricedUsageError for a modifier or a kind of use that the price has no rate for.
 * @throws UsageError for counts that are no counts.
 */
export function costOfUsage(price: ModelPrice, usage: ModelUsage): Cost {
  checkUsage(usage);
  const factor = factorOf(price, usage.modifiers);
  const lines = [usage, ...usage.compactions].flatMap((counts) => tokenLines(price, counts, factor));
  if (usage.webSearchRequests > 0) {
    const rateUsd = rateFor(price, 'web_search', price.webSearchPerThousandUsd);
    const quantity = usage.webSearchRequests;
    lines.push({ kind: 'web_search', quantity, rateUsd, amountUsd: (BigInt(quantity) * rateUsd) / searchesPerRate });
  }
  return { costUsd: sumUsd(lines.map((line) => line.amountUsd)), lines };
}

function tokenLines(price: ModelPrice, counts: TokenCounts, factor: Fraction): CostLine[] {
  const { longContext } = price;
  const isLong = longContext !== undefined && promptTokens(counts) > longContext.thresholdTokens;
  const rates = isLong ? longContext.rates : price.rates;
  const used: [CostKind, number, Usd | undefined][] = [
    ['input', counts.inputTokens, rates.inputUsd],
    ['cache_read', counts.cacheReadTokens, rates.cacheReadUsd],
    ['cache_write_5m', counts.cacheWrite5mTokens, rates.cacheWrite5mUsd],
    ['cache_write_1h', counts.cacheWrite1hTokens, rates.cacheWrite1hUsd],
    ['output', counts.outputTokens, rates.outputUsd],
  ];
  return used
    .filter(([, quantity]) => quantity > 0)
    .map(([kind, quantity, rate]) => {
      const rateUsd = rateFor(price, kind, rate);
      const dividend = BigInt(quantity) * rateUsd * factor.numerator;
      const amountUsd = divideRoundUp({ dividend, divisor: tokensPerRate * factor.denominator });
      return { kind, quantity, rateUsd, amountUsd };
    });
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
    const next = Object.hasOwn(factors, value) ? factors[value] : undefined;
    if (next === undefined) throw new UnpricedUsageError(price, `${name} ${JSON.stringify(value)}`);
    factor = reduced({
      numerator: factor.numerator * next.numerator,
      denominator: factor.denominator * next.denominator,
    });
  }
  return factor;
}

/** What is known of a call before it is made. */
export interface PlannedCall {
  /** All tokens of the prompt, cached or not. An estimate of the caller's should err on the high side. */
  inputTokens: number;
  /** The longest lifetime that the request asks a cache to keep something for; absent when it asks for none. */
  cacheWriteTtl?: '5m' | '1h';
  /** Most web searches that the request allows. */
  maxWebSearches?: number;
  /** What the request asks for; absent means the standard, which the request should then insist on. */
  modifiers?: UsageModifiers;
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
  const factor = factorOf(price, call.modifiers ?? {});
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

function promptRates(price: ModelPrice, rates: TokenRates, ttl: PlannedCall['cacheWriteTtl']): Usd[] {
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
