/** Reads the usage that OpenAI reports. */
import { checkCount, isRecord, UsageError, usageOf, type ModelUsage } from './usage';

/**
 * Usage as OpenAI's Responses API reports it. Its cached tokens, read and written, are a subset of `input_tokens`, and
 * reasoning is a subset of `output_tokens`.
 */
export interface OpenAiUsage {
  input_tokens?: unknown;
  input_tokens_details?: unknown;
  output_tokens?: unknown;
  output_tokens_details?: unknown;
  total_tokens?: unknown;
}

/** What the response says beside its usage, and what the model's price bills. */
export interface OpenAiDetails {
  /** Whether the model's price has a rate for cache writes; else they are ordinary input. */
  billsCacheWrites: boolean;
  serviceTier?: string | null | undefined;
  /** Where it was served, as far as that changes its price; the report does not say. */
  inferenceGeo?: string | undefined;
  /** The response's output: tools of the provider that ran are billed by the call. */
  output?: unknown;
}

/** Items of an output that are tools of the provider which it bills by the call, web searches apart. */
const billedTools = ['file_search_call', 'code_interpreter_call', 'image_generation_call', 'shell_call'];

/**
 * Reads the usage of a whole response. The report says nothing of the service tier and of tools: pass the response's own.
 * @throws UsageError for a count that is missing, negative, fractional, NaN or absurd, for parts above their whole, and for
 * a total that is not the sum of its parts.
 */
export function usageFromOpenAi(
  raw: unknown,
  { billsCacheWrites, serviceTier, inferenceGeo, output }: OpenAiDetails,
): ModelUsage {
  const usage: OpenAiUsage = isRecord(raw) ? raw : {};
  const all = checkCount(usage.input_tokens, 'usage.input_tokens');
  const outputTokens = checkCount(usage.output_tokens, 'usage.output_tokens');
  const details = isRecord(usage.input_tokens_details) ? usage.input_tokens_details : {};
  const cacheReadTokens = checkCount(details.cached_tokens ?? 0, 'cached_tokens');
  const written = checkCount(details.cache_write_tokens ?? 0, 'cache_write_tokens');
  const outputDetails = isRecord(usage.output_tokens_details) ? usage.output_tokens_details : {};
  const reasoning = checkCount(outputDetails.reasoning_tokens ?? 0, 'reasoning_tokens');
  const total = checkCount(usage.total_tokens ?? all + outputTokens, 'usage.total_tokens');
  const cacheWrite5mTokens = billsCacheWrites ? written : 0;
  const inputTokens = all - cacheReadTokens - cacheWrite5mTokens;
  const contradiction =
    inputTokens < 0
      ? `${cacheReadTokens} tokens read from a cache and ${written} written to it are more than the ${all} of the whole prompt`
      : reasoning > outputTokens
        ? `${reasoning} tokens of reasoning are more than the ${outputTokens} of the whole output`
        : total !== all + outputTokens
          ? `it reports ${total} tokens in total, and its parts add up to ${all + outputTokens}`
          : undefined;
  const standard = serviceTier == null || serviceTier === 'default' || serviceTier === 'auto';
  const read = usageOf({
    inputTokens: Math.max(0, inputTokens),
    outputTokens,
    cacheReadTokens,
    cacheWrite5mTokens,
    modifiers: { ...(standard ? {} : { serviceTier }), ...(inferenceGeo === undefined ? {} : { inferenceGeo }) },
    ...toolsFrom(output),
  });
  if (contradiction === undefined) return read;
  throw new UsageError(
    `The usage cannot be billed: ${contradiction}. The call is settled at its estimate until its cost is corrected.`,
    inputTokens < 0 ? usageOf({ ...read, cacheReadTokens: 0, cacheWrite5mTokens: 0 }) : read,
  );
}

/** Searches are billed by the call; what else the tool does, such as opening a page, is not. */
function toolsFrom(output: unknown): Pick<ModelUsage, 'webSearchRequests' | 'otherTools'> {
  const otherTools: Record<string, number> = {};
  let webSearchRequests = 0;
  for (const item of Array.isArray(output) ? (output as unknown[]) : []) {
    if (!isRecord(item)) continue;
    const { type, action } = item;
    if (type === 'web_search_call') {
      if (!isRecord(action) || action.type === undefined || action.type === 'search') webSearchRequests += 1;
    } else if (typeof type === 'string' && billedTools.includes(type)) {
      otherTools[type] = (otherTools[type] ?? 0) + 1;
    }
  }
  return { webSearchRequests, ...(Object.keys(otherTools).length === 0 ? {} : { otherTools }) };
}
