/** Reads the usage that Anthropic reports. */
import { isRecord, laterReport, UsageError, usageOf, type ModelUsage, type UsageModifiers } from './usage';
import { asRecord, countsFrom, optionalCount } from './usage-anthropic-counts';
import { withIterations } from './usage-anthropic-iterations';

/**
 * Usage as Anthropic's Messages API reports it, in a message or in the events of a stream. Any field may be null or
 * absent, in older versions of the API and in `message_delta` events.
 */
export interface AnthropicUsage {
  input_tokens?: unknown;
  output_tokens?: unknown;
  /** How much of the output was thinking: a part of it, not billed apart. */
  output_tokens_details?: unknown;
  cache_creation_input_tokens?: unknown;
  cache_read_input_tokens?: unknown;
  /** `cache_creation_input_tokens` once more, by lifetime. */
  cache_creation?: unknown;
  server_tool_use?: unknown;
  service_tier?: unknown;
  speed?: unknown;
  inference_geo?: unknown;
  /** One entry per request that the call consisted of. */
  iterations?: unknown;
  /** Whether cache writes were billed as if the conversation had been on this model all along. */
  fallback_credit?: unknown;
}

const fields = [
  'input_tokens',
  'output_tokens',
  'output_tokens_details',
  'cache_creation_input_tokens',
  'cache_read_input_tokens',
  'cache_creation',
  'server_tool_use',
  'service_tier',
  'speed',
  'inference_geo',
  'iterations',
  'fallback_credit',
] as const satisfies readonly (keyof AnthropicUsage)[];

/**
 * Adds one event's usage to what a stream reported before. Counts are cumulative, so they are never added up, and they
 * never fall: some endpoints repeat zeros at the end for what they counted at the start, so the largest value of each
 * count holds. Of what is no count, a later value replaces an earlier one. What an event leaves out stays as it was.
 * @param earlier what this function answered for the event before, undefined at `message_start`.
 * @throws UsageError when the event's usage is no object; an event may have none.
 */
export function mergeStreamUsage(earlier: AnthropicUsage | undefined, later: unknown): AnthropicUsage {
  const merged: AnthropicUsage = { ...earlier };
  if (later === null || later === undefined) return merged;
  const reported = asRecord(later, 'usage');
  for (const field of fields) merged[field] = laterReport(merged[field], reported[field]);
  return merged;
}

/**
 * Reads the usage of a whole message, or of a stream as {@link mergeStreamUsage} left it.
 * @param model the model that was asked: what the report says that another one served is kept apart.
 * @throws UsageError for a count that is missing, negative, fractional, NaN or absurd, for parts that contradict their
 * total, and for requests inside the call that nothing is known of.
 */
export function usageFromAnthropic(raw: unknown, model?: string): ModelUsage {
  const usage = asRecord(raw, 'usage');
  const stated = usageOf({
    ...countsFrom(usage, 'usage'),
    ...toolsFrom(usage.server_tool_use),
    modifiers: modifiersFrom(usage),
  });
  const { output_tokens_details: details } = usage;
  const thinking = isRecord(details) ? optionalCount(details, 'thinking_tokens') : 0;
  if (thinking > stated.outputTokens) {
    throw new UsageError(
      `The usage cannot be billed: ${thinking} tokens of thinking are more than the ${stated.outputTokens} of the whole ` +
        'output. The call is settled at its estimate until its cost is corrected.',
      stated,
    );
  }
  const credit = usage.fallback_credit;
  if (isRecord(credit) && isRecord(credit.status) && credit.status.type === 'redeemed') {
    throw new UsageError(
      'The usage cannot be billed: a fallback credit changed its price, and it does not say by how much.',
    );
  }
  return withIterations(stated, usage.iterations, model);
}

/** Fetches of pages are free. Whatever else ran is named, such as code, whose containers are billed by their time. */
function toolsFrom(reported: unknown): Pick<ModelUsage, 'webSearchRequests' | 'otherTools'> {
  if (reported === null || reported === undefined) return { webSearchRequests: 0 };
  const tools = asRecord(reported, 'server_tool_use');
  const others = Object.keys(tools).filter((name) => !['web_search_requests', 'web_fetch_requests'].includes(name));
  const counts = others.map((name) => [name.replace(/_requests$/, ''), optionalCount(tools, name)] as const);
  const otherTools = Object.fromEntries(counts.filter(([, count]) => count > 0));
  return {
    webSearchRequests: optionalCount(tools, 'web_search_requests'),
    ...(Object.keys(otherTools).length > 0 ? { otherTools } : {}),
  };
}

/** Keeps what differs from the standard. `not_available` is the answer of models that cannot choose a region. */
function modifiersFrom(usage: Record<string, unknown>): UsageModifiers {
  const modifiers: UsageModifiers = {};
  const serviceTier = modifier(usage.service_tier, ['standard']);
  const speed = modifier(usage.speed, ['standard']);
  const inferenceGeo = modifier(usage.inference_geo, ['global', 'not_available']);
  if (serviceTier !== undefined) modifiers.serviceTier = serviceTier;
  if (speed !== undefined) modifiers.speed = speed;
  if (inferenceGeo !== undefined) modifiers.inferenceGeo = inferenceGeo;
  return modifiers;
}

/** A value of another type than expected is kept as text: the price does not know it, so it is refused there. */
function modifier(value: unknown, standard: readonly string[]): string | undefined {
  if (value === null || value === undefined) return undefined;
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return standard.includes(text) ? undefined : text;
}
