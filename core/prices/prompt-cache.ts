/**
 * Prompt caching: what a request asks its provider to keep of a prompt, and what that saved. Anthropic caches up to marks that a request
 * sets, at a price for writing them; OpenAI and Google cache by themselves, whatever is asked. What was measured: docs/decisions/0058.
 */
import type { Usd } from '../money';
import { billOf, type PriceBook } from './pricing';
import type { ModelPrice, TokenRates } from './prices';
import { promptTokens, type CacheTtl, type ModelUsage, type TokenCounts } from './usage';

/** As a run's options have it. */
export type PromptCaching = CacheTtl | 'off';

/**
 * The lifetime that requests at this price ask for; undefined where nothing is to be asked for: the provider has no marks, or the price
 * has no rate for what would be billed.
 */
export function cacheTtlFor(price: ModelPrice, wanted: PromptCaching): CacheTtl | undefined {
  if (wanted === 'off' || price.provider !== 'anthropic') return undefined;
  const isPriced = ({ cacheReadUsd, cacheWrite5mUsd, cacheWrite1hUsd }: TokenRates): boolean =>
    cacheReadUsd !== undefined && (wanted === '1h' ? cacheWrite1hUsd : cacheWrite5mUsd) !== undefined;
  const { rates, longContext } = price;
  return isPriced(rates) && (longContext === undefined || isPriced(longContext.rates)) ? wanted : undefined;
}

/** What the same call would have cost more without caches; below 0 where writing to them cost more than reading saved. */
export function savedByCache(price: ModelPrice, usage: ModelUsage, book: PriceBook): Usd {
  const { compactions, otherModels } = usage;
  const without: ModelUsage = {
    ...usage,
    ...uncached(usage),
    compactions: compactions.map(uncached),
    ...(otherModels === undefined
      ? {}
      : { otherModels: otherModels.map((other) => ({ ...other, ...uncached(other) })) }),
  };
  return billOf(price, without, book).costUsd - billOf(price, usage, book).costUsd;
}

const uncached = (counts: TokenCounts): TokenCounts => ({
  inputTokens: promptTokens(counts),
  outputTokens: counts.outputTokens,
  cacheReadTokens: 0,
  cacheWrite5mTokens: 0,
  cacheWrite1hTokens: 0,
});
