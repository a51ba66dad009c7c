import { checkCount, UsageError, usageOf, type ModelUsage } from './usage';

/**
 * Usage as OpenAI's Responses API reports it. Its cached tokens, read and written, are a subset of `input_tokens`, and
 * reasoning is a subset of `output_tokens`.
 */
export interface OpenAiUsage {
  input_tokens?: unknown;
  input_tokens_details?: { cached_tokens?: unknown; cache_write_tokens?: unknown } | null;
  output_tokens?: unknown;
}

/**
 * Reads the usage of a whole response. The report says nothing of the service tier: pass the response's own.
 * @param billsCacheWrites whether the model's price has a rate for cache writes; else they are ordinary input.
 * @throws UsageError for a count that is missing, negative, fractional, NaN or absurd, and for parts above their whole.
 */
export function usageFromOpenAi(
  raw: unknown,
  { billsCacheWrites, serviceTier }: { billsCacheWrites: boolean; serviceTier?: string | null | undefined },
): ModelUsage {
  const usage = (typeof raw === 'object' && raw !== null ? raw : {}) as OpenAiUsage;
  const all = checkCount(usage.input_tokens, 'usage.input_tokens');
  const details = usage.input_tokens_details ?? {};
  const cacheReadTokens = checkCount(details.cached_tokens ?? 0, 'cached_tokens');
  const written = checkCount(details.cache_write_tokens ?? 0, 'cache_write_tokens');
  const cacheWrite5mTokens = billsCacheWrites ? written : 0;
  const inputTokens = all - cacheReadTokens - cacheWrite5mTokens;
  if (inputTokens < 0) {
    throw new UsageError(
      `The usage cannot be billed: ${cacheReadTokens} tokens read from a cache and ${written} written to it are more than the ${all} ` +
        'of the whole prompt. The call is settled at its estimate until its cost is corrected.',
    );
  }
  const standard = serviceTier == null || serviceTier === 'default' || serviceTier === 'auto';
  return usageOf({
    inputTokens,
    outputTokens: checkCount(usage.output_tokens, 'usage.output_tokens'),
    cacheReadTokens,
    cacheWrite5mTokens,
    modifiers: standard ? {} : { serviceTier },
  });
}
