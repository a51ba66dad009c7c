/** When a bound of a prompt, which nobody counted, is good enough to reserve by; and what is made of a provider's count. */
import type { Usd } from '../money';
import { estimateModelCall } from './pricing';
import type { ModelPrice } from './prices';
import { MAX_COUNT } from './usage';

/**
 * What is left has to hold a bound this many times over: nearer to the end of a budget calls are counted, so that neither
 * this one nor those that run beside it are denied for what they do not need.
 */
const roomFactor = 10n;

/**
 * So many tokens may be bounded and not counted, whatever they cost. More may where they cost no more than the longest answer: a call whose
 * cost is never learned is charged what was reserved, so that must not be many times too much.
 */
const roughTokensMax = 8_192;

/** A call whose prompt is bounded. */
export interface BoundedCall {
  inputTokens: number;
  /** How many of them are no true count. */
  roughTokens: number;
  maxOutputTokens: number;
  amountUsd: Usd;
}

/** What a bound has to stay within. */
export interface BoundRoom {
  /** What is left of the tightest quota; absent where none binds. */
  quotaUsd?: Usd | undefined;
  /** What is left of the run's own limit. */
  leftUsd?: Usd | undefined;
  /** More tokens than this have a consequence: the context is compacted. */
  tokensMax?: number | undefined;
}

/** Whether nothing that a count could tell would change anything. */
export function boundSuffices(
  { inputTokens, roughTokens, maxOutputTokens, amountUsd }: BoundedCall,
  price: ModelPrice,
  { quotaUsd, leftUsd, tokensMax = Infinity }: BoundRoom,
): boolean {
  if (quotaUsd !== undefined && quotaUsd < amountUsd * roomFactor) return false;
  if (leftUsd !== undefined && leftUsd < amountUsd) return false;
  if (inputTokens > Math.min(tokensMax, price.longContext?.thresholdTokens ?? Infinity)) return false;
  const roughUsd = estimateModelCall(price, { inputTokens: roughTokens, maxOutputTokens: 0 });
  return roughTokens <= roughTokensMax || roughUsd <= estimateModelCall(price, { inputTokens: 0, maxOutputTokens });
}

/**
 * What a provider counts, and a little more, since providers call their count an estimate. Undefined for what is no count of a prompt: a page of
 * a proxy, nothing, a zero. A call would be granted too little by it.
 */
export const countedWithMargin = (tokens: unknown): number | undefined =>
  Number.isInteger(tokens) && (tokens as number) > 0 && (tokens as number) <= MAX_COUNT
    ? Math.ceil((tokens as number) * 1.02) + 16
    : undefined;
