/**
 * What one call of a model used, in one form for all providers. Every kind of token is counted once: `inputTokens`
 * excludes what was read from or written to a cache, and thinking is part of `outputTokens`. Providers differ there
 * (OpenAI's cached tokens are a subset of its input, Gemini reports thinking apart), so each has its own converter.
 */

/** How long a provider can be asked to keep what nobody reads: each read begins its time anew. */
export const cacheTtls = ['5m', '1h'] as const;
export type CacheTtl = (typeof cacheTtls)[number];

/** Tokens of one request, each kind apart. */
export interface TokenCounts {
  /** Prompt tokens that no cache took part in. */
  inputTokens: number;
  /** Everything generated, thinking included. */
  outputTokens: number;
  cacheReadTokens: number;
  /** Written to the cache for five minutes, or for the only lifetime that the provider has. */
  cacheWrite5mTokens: number;
  /** Written to the cache for an hour. */
  cacheWrite1hTokens: number;
}

/** Choices of the request that change its price. What is absent was at the provider's standard. */
export interface UsageModifiers {
  serviceTier?: string;
  speed?: string;
  inferenceGeo?: string;
}

/** A request inside the call that another model served, at that model's price. */
export interface OtherModelUsage extends TokenCounts {
  /** The exact name in the provider's API. */
  model: string;
}

/** Usage of one call, as it is priced, stored with the outcome and sent over the wire: plain JSON. */
export interface ModelUsage extends TokenCounts {
  /** Web searches that the provider ran for the call. */
  webSearchRequests: number;
  /** Requests inside the call that summarised its context. They are billed, and are no part of the counts above. */
  compactions: readonly TokenCounts[];
  modifiers: UsageModifiers;
  /** Requests inside the call that other models served. They are no part of the counts above. Absent for none. */
  otherModels?: readonly OtherModelUsage[];
  /** What a price list has no column for, by name: paid tools of the provider and how often each ran, tokens that are no text. Absent for none. */
  otherTools?: Readonly<Record<string, number>>;
  /** What the call would have cost more without caches, once it is priced; below 0 where writing to them cost more. Decimal string. Absent for nothing. */
  cacheSavedUsd?: string;
}

/** More than this in one count is no usage but a mistake: the largest context is some millions of tokens. */
export const MAX_COUNT = 100_000_000;

/** A provider's report of usage cannot be billed: a count is missing, negative, no whole number, or absurd. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  readonly code = 'invalid_usage';
  /** @param known what was used in any case, where a report contradicts itself. */
  constructor(
    message: string,
    readonly known?: ModelUsage,
  ) {
    super(message);
  }
}

/** Prompt tokens of a request, cached or not: what a long-context threshold is compared with. */
export const promptTokens = (counts: TokenCounts): number =>
  counts.inputTokens + counts.cacheReadTokens + counts.cacheWrite5mTokens + counts.cacheWrite1hTokens;

/** Every request that a call consisted of: its own, its compactions, and what other models served. */
const requestsOf = (usage: ModelUsage): readonly TokenCounts[] => [
  usage,
  ...usage.compactions,
  ...(usage.otherModels ?? []),
];

/** All tokens of a call, as OpenTelemetry's conventions count them: cached ones are input, and every request that it consisted of counts. */
export function tokensOf(usage: ModelUsage): { inputTokens: number; outputTokens: number } {
  const requests = requestsOf(usage);
  return {
    inputTokens: requests.reduce((sum, request) => sum + promptTokens(request), 0),
    outputTokens: requests.reduce((sum, { outputTokens }) => sum + outputTokens, 0),
  };
}

/** Usage of zero, with the given counts filled in. */
export function usageOf(counts: Partial<ModelUsage> = {}): ModelUsage {
  return {
    inputTokens: 0,
    outputTokens: 0,
    cacheReadTokens: 0,
    cacheWrite5mTokens: 0,
    cacheWrite1hTokens: 0,
    webSearchRequests: 0,
    compactions: [],
    modifiers: {},
    ...counts,
  };
}

/** Reads a count. @throws UsageError unless it is a whole number from 0 to {@link MAX_COUNT}. */
export function checkCount(value: unknown, name: string): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= MAX_COUNT) return value;
  const shown = typeof value === 'number' ? String(value) : value === undefined ? 'missing' : `a ${typeof value}`;
  throw new UsageError(
    `The usage cannot be billed: ${name} is ${shown}, not a whole number from 0 to ${MAX_COUNT}. ` +
      'The call is settled at its estimate until its cost is corrected; look it up at the provider.',
  );
}

/** Checks every count of usage that came from elsewhere, such as a stored outcome. @throws UsageError */
export function checkUsage(usage: ModelUsage): void {
  for (const counts of requestsOf(usage)) {
    checkCount(counts.inputTokens, 'inputTokens');
    checkCount(counts.outputTokens, 'outputTokens');
    checkCount(counts.cacheReadTokens, 'cacheReadTokens');
    checkCount(counts.cacheWrite5mTokens, 'cacheWrite5mTokens');
    checkCount(counts.cacheWrite1hTokens, 'cacheWrite1hTokens');
  }
  checkCount(usage.webSearchRequests, 'webSearchRequests');
  for (const [tool, count] of Object.entries(usage.otherTools ?? {})) checkCount(count, tool);
}

/** Whether it is an object with named fields. */
export const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * What a stream's reports say together, field by field. Counts are cumulative: they are never added up, and they never
 * fall, since some endpoints repeat zeros at the end for what they counted at the start. So the largest value of each count
 * holds; of what is no count the later, and of lists the longer one. What a report leaves out, or nulls, stays as it was.
 */
export function laterReport(earlier: unknown, later: unknown): unknown {
  if (later === null || later === undefined) return earlier;
  if (earlier === null || earlier === undefined) return later;
  if (Array.isArray(earlier) && Array.isArray(later)) return later.length < earlier.length ? earlier : later;
  if (isRecord(earlier) && isRecord(later)) {
    const names = new Set([...Object.keys(earlier), ...Object.keys(later)]);
    return Object.fromEntries([...names].map((name) => [name, laterReport(earlier[name], later[name])]));
  }
  if (typeof earlier === 'string' && typeof later === 'string') return later;
  // A count that cannot be read stays, whichever came first: the whole report cannot be billed.
  if (!isCount(earlier)) return earlier;
  return isCount(later) ? Math.max(earlier, later) : later;
}

const isCount = (value: unknown): value is number => Number.isInteger(value) && (value as number) >= 0;
