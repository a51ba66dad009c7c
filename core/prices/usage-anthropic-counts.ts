/** The counts of one request as Anthropic's API reports them: of a whole call, or of one of its iterations. */
import { checkCount, isRecord, UsageError, type TokenCounts } from './usage';

export function asRecord(value: unknown, name: string): Record<string, unknown> {
  if (isRecord(value)) return value;
  throw new UsageError(
    `The usage cannot be billed: ${name} is ${value === null || value === undefined ? 'missing' : 'no object'}. ` +
      'The call is settled at its estimate until its cost is corrected; look it up at the provider.',
  );
}

export function optionalCount(record: Record<string, unknown>, field: string): number {
  return checkCount(record[field] ?? 0, field);
}

export function countsFrom(usage: Record<string, unknown>, name: string): TokenCounts {
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
