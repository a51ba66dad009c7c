import { checkCount, UsageError, usageOf, type ModelUsage } from './usage';

/**
 * Usage as Gemini's API reports it, cumulative in a stream: the last report counts. `promptTokenCount` includes what came
 * from a cache; thinking is reported apart and billed as output; what tools added to the prompt is billed as input.
 */
export interface GoogleUsage {
  promptTokenCount?: unknown;
  cachedContentTokenCount?: unknown;
  toolUsePromptTokenCount?: unknown;
  candidatesTokenCount?: unknown;
  thoughtsTokenCount?: unknown;
}

/**
 * Reads the last report of a response. An answer without a word leaves `candidatesTokenCount` out.
 * @throws UsageError for a count that is missing, negative, fractional, NaN or absurd, and for more cached tokens than prompt.
 */
export function usageFromGoogle(raw: unknown): ModelUsage {
  const usage = (typeof raw === 'object' && raw !== null ? raw : {}) as GoogleUsage;
  const prompt = checkCount(usage.promptTokenCount, 'promptTokenCount');
  const cacheReadTokens = checkCount(usage.cachedContentTokenCount ?? 0, 'cachedContentTokenCount');
  if (cacheReadTokens > prompt) {
    throw new UsageError(
      `The usage cannot be billed: ${cacheReadTokens} tokens read from a cache are more than the ${prompt} of the whole prompt. ` +
        'The call is settled at its estimate until its cost is corrected.',
    );
  }
  return usageOf({
    inputTokens: prompt - cacheReadTokens + checkCount(usage.toolUsePromptTokenCount ?? 0, 'toolUsePromptTokenCount'),
    outputTokens:
      checkCount(usage.candidatesTokenCount ?? 0, 'candidatesTokenCount') +
      checkCount(usage.thoughtsTokenCount ?? 0, 'thoughtsTokenCount'),
    cacheReadTokens,
  });
}
