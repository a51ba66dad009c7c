import { checkCount, UsageError, type ModelUsage, type TokenCounts, type UsageModifiers } from './usage';

/**
 * Usage as Anthropic's Messages API reports it, in a message or in the events of a stream. Any field may be null or
 * absent, in older versions of the API and in `message_delta` events.
 */
export interface AnthropicUsage {
  input_tokens?: unknown;
  output_tokens?: unknown;
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
}

const fields = [
  'input_tokens',
  'output_tokens',
  'cache_creation_input_tokens',
  'cache_read_input_tokens',
  'cache_creation',
  'server_tool_use',
  'service_tier',
  'speed',
  'inference_geo',
  'iterations',
] as const satisfies readonly (keyof AnthropicUsage)[];

function asRecord(value: unknown, name: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new UsageError(
    `The usage cannot be billed: ${name} is ${value === null || value === undefined ? 'missing' : 'no object'}. ` +
      'The call is settled at its estimate until its cost is corrected; look it up at the provider.',
  );
}

/**
 * Adds one event's usage to what a stream reported before. Counts are cumulative, so a later value replaces an earlier
 * one and is never added to it; what an event leaves out stays as it was.
 * @param earlier what this function answered for the event before, undefined at `message_start`.
 * @throws UsageError when the event's usage is no object.
 */
export function mergeStreamUsage(earlier: AnthropicUsage | undefined, later: unknown): AnthropicUsage {
  const merged: AnthropicUsage = { ...earlier };
  const reported = asRecord(later, 'usage');
  for (const field of fields) {
    const value = reported[field];
    if (value !== null && value !== undefined) merged[field] = value;
  }
  return merged;
}

/**
 * Reads the usage of a whole message, or of a stream as {@link mergeStreamUsage} left it.
 * @throws UsageError for a count that is missing, negative, fractional, NaN or absurd, for cache writes that
 * contradict each other, and for requests inside the call that another model served.
 */
export function usageFromAnthropic(raw: unknown): ModelUsage {
  const usage = asRecord(raw, 'usage');
  const tools = usage.server_tool_use ?? undefined;
  return {
    ...countsFrom(usage, 'usage'),
    webSearchRequests:
      tools === undefined ? 0 : optionalCount(asRecord(tools, 'server_tool_use'), 'web_search_requests'),
    compactions: compactionsFrom(usage.iterations),
    modifiers: modifiersFrom(usage),
  };
}

function optionalCount(record: Record<string, unknown>, field: string): number {
  return checkCount(record[field] ?? 0, field);
}

function countsFrom(usage: Record<string, unknown>, name: string): TokenCounts {
  return {
    inputTokens: checkCount(usage.input_tokens ?? undefined, `${name}.input_tokens`),
    outputTokens: checkCount(usage.output_tokens ?? undefined, `${name}.output_tokens`),
    cacheReadTokens: optionalCount(usage, 'cache_read_input_tokens'),
    ...cacheWritesFrom(usage),
  };
}

/**
 * Cache writes come as a total, by lifetime, or as both; they are billed once. In a stream the total may grow after the
 * split was given: what the split does not cover counts at the dearer lifetime that it names. A total alone is five
 * minutes, the lifetime of a write that asks for none.
 */
function cacheWritesFrom(
  usage: Record<string, unknown>,
): Pick<TokenCounts, 'cacheWrite5mTokens' | 'cacheWrite1hTokens'> {
  const total = optionalCount(usage, 'cache_creation_input_tokens');
  if (usage.cache_creation === null || usage.cache_creation === undefined) {
    return { cacheWrite5mTokens: total, cacheWrite1hTokens: 0 };
  }
  const split = asRecord(usage.cache_creation, 'cache_creation');
  const fiveMinutes = optionalCount(split, 'ephemeral_5m_input_tokens');
  const oneHour = optionalCount(split, 'ephemeral_1h_input_tokens');
  const reportsTotal = usage.cache_creation_input_tokens !== null && usage.cache_creation_input_tokens !== undefined;
  const uncovered = reportsTotal ? total - fiveMinutes - oneHour : 0;
  if (uncovered < 0) {
    throw new UsageError(
      `The usage cannot be billed: it reports ${total} cache write tokens in total but ${fiveMinutes} for five minutes ` +
        `and ${oneHour} for an hour. The call is settled at its estimate until its cost is corrected.`,
    );
  }
  return oneHour > 0
    ? { cacheWrite5mTokens: fiveMinutes, cacheWrite1hTokens: oneHour + uncovered }
    : { cacheWrite5mTokens: fiveMinutes + uncovered, cacheWrite1hTokens: 0 };
}

/**
 * `message` entries are parts of the totals. A `compaction` is in no total. Entries of other types were served by
 * another model at another price, which this call's price knows nothing of.
 */
function compactionsFrom(iterations: unknown): TokenCounts[] {
  if (iterations === null || iterations === undefined) return [];
  if (!Array.isArray(iterations)) throw new UsageError('The usage cannot be billed: iterations is no list.');
  const compactions: TokenCounts[] = [];
  for (const entry of iterations as unknown[]) {
    const iteration = asRecord(entry, 'iterations');
    if (iteration.type === 'compaction') compactions.push(countsFrom(iteration, 'compaction'));
    else if (iteration.type !== 'message') {
      throw new UsageError(
        `The usage cannot be billed: it has an iteration of type ${JSON.stringify(iteration.type)}, which another model ` +
          'may have served. The call is settled at its estimate until its cost is corrected.',
      );
    }
  }
  return compactions;
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
