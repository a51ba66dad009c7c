/** Reads the usage that Gemini reports. */
import { checkCount, isRecord, laterReport, UsageError, usageOf, type ModelUsage, type UsageModifiers } from './usage';

/**
 * Usage as Gemini's API reports it, cumulative in a stream. `promptTokenCount` includes what came from a cache; thinking is
 * reported apart, or among the candidates, and billed as output; what tools added to the prompt is billed as input. The total is the sum of all.
 */
export interface GoogleUsage {
  promptTokenCount?: unknown;
  cachedContentTokenCount?: unknown;
  toolUsePromptTokenCount?: unknown;
  candidatesTokenCount?: unknown;
  thoughtsTokenCount?: unknown;
  totalTokenCount?: unknown;
  serviceTier?: unknown;
  /** The counts once more, by modality. */
  promptTokensDetails?: unknown;
  cacheTokensDetails?: unknown;
  toolUsePromptTokensDetails?: unknown;
  candidatesTokensDetails?: unknown;
}

const parts = ['promptTokenCount', 'toolUsePromptTokenCount', 'candidatesTokenCount', 'thoughtsTokenCount'] as const;
const details = [
  'promptTokensDetails',
  'cacheTokensDetails',
  'toolUsePromptTokensDetails',
  'candidatesTokensDetails',
] as const;
const others = ['cachedContentTokenCount', 'serviceTier', ...details] as const;

/**
 * Adds what a chunk of a stream reports to what was reported before; see {@link laterReport}. A total is that of its own
 * report: where it differs from its parts, it goes on differing by as much.
 */
export function mergeGoogleUsage(earlier: GoogleUsage | undefined, later: unknown): GoogleUsage {
  const reported = isRecord(later) ? later : {};
  const merged: GoogleUsage = { ...earlier };
  for (const field of [...parts, ...others]) merged[field] = laterReport(merged[field], reported[field]);
  const { totalTokenCount: total } = reported;
  if (typeof total !== 'number') merged.totalTokenCount = laterReport(merged.totalTokenCount, total);
  else merged.totalTokenCount = sumOfParts(merged) + total - sumOfParts(reported);
  return merged;
}

const sumOfParts = (usage: GoogleUsage): number => parts.reduce((sum, part) => sum + Number(usage[part] ?? 0), 0);

/** What the response says beside its usage. */
export interface GoogleDetails {
  /** Searches that are billed; see {@link groundingFrom}. */
  webSearchRequests?: number;
  otherTools?: Readonly<Record<string, number>>;
}

/**
 * What the provider looked up for an answer, as its `groundingMetadata` says, in one or in several parts. Models up to
 * Gemini 2.5 are billed by the answer that was grounded, later ones by the query.
 */
export function groundingFrom(grounding: readonly unknown[], model: string): GoogleDetails {
  const queries = new Set<unknown>();
  let isSearched = false;
  let isMapped = false;
  for (const part of grounding.filter(isRecord)) {
    for (const list of [part.webSearchQueries, part.imageSearchQueries]) {
      if (Array.isArray(list)) for (const query of list as unknown[]) queries.add(query);
    }
    const chunks = Array.isArray(part.groundingChunks) ? (part.groundingChunks as unknown[]).filter(isRecord) : [];
    isSearched ||= chunks.some(({ web }) => web != null) || part.searchEntryPoint != null;
    isMapped ||= chunks.some(({ maps }) => maps != null) || part.googleMapsWidgetContextToken != null;
  }
  const atLeastOne = queries.size > 0 || isSearched ? 1 : 0;
  const webSearchRequests = /^gemini-[12][.-]/.test(model) ? atLeastOne : Math.max(atLeastOne, queries.size);
  return { webSearchRequests, ...(isMapped ? { otherTools: { google_maps: 1 } } : {}) };
}

/**
 * Reads the usage of a whole response, or of a stream as {@link mergeGoogleUsage} left it. An answer without a word leaves
 * `candidatesTokenCount` out.
 * @throws UsageError for a count that is missing, negative, fractional, NaN or absurd, for more cached tokens than prompt,
 * and for a total that is not the sum of its parts.
 */
export function usageFromGoogle(raw: unknown, { webSearchRequests = 0, otherTools }: GoogleDetails = {}): ModelUsage {
  const usage: GoogleUsage = isRecord(raw) ? raw : {};
  const prompt = checkCount(usage.promptTokenCount, 'promptTokenCount');
  const cacheReadTokens = checkCount(usage.cachedContentTokenCount ?? 0, 'cachedContentTokenCount');
  if (cacheReadTokens > prompt) {
    throw new UsageError(
      `The usage cannot be billed: ${cacheReadTokens} tokens read from a cache are more than the ${prompt} of the whole prompt. ` +
        'The call is settled at its estimate until its cost is corrected.',
    );
  }
  const toolInput = checkCount(usage.toolUsePromptTokenCount ?? 0, 'toolUsePromptTokenCount');
  const candidates = checkCount(usage.candidatesTokenCount ?? 0, 'candidatesTokenCount');
  const thoughts = checkCount(usage.thoughtsTokenCount ?? 0, 'thoughtsTokenCount');
  // Some models and gateways count the thoughts among the candidates: then the total is right without them.
  const areWithin = thoughts <= candidates && usage.totalTokenCount === prompt + toolInput + candidates;
  const outputTokens = areWithin ? candidates : candidates + thoughts;
  const dear = dearModalities(usage);
  const read = usageOf({
    inputTokens: prompt - cacheReadTokens + toolInput,
    outputTokens,
    cacheReadTokens,
    webSearchRequests: checkCount(webSearchRequests, 'webSearchRequests'),
    modifiers: modifiersFrom(usage),
    ...(otherTools || dear ? { otherTools: { ...otherTools, ...dear } } : {}),
  });
  const all = prompt + toolInput + outputTokens;
  const total = checkCount(usage.totalTokenCount ?? all, 'totalTokenCount');
  if (total === all) return read;
  throw new UsageError(
    `The usage cannot be billed: it reports ${total} tokens in total, and its parts add up to ${all}. The call is settled ` +
      'at its estimate until its cost is corrected.',
    // At least what both agree on.
    { ...read, outputTokens: Math.max(0, Math.min(outputTokens, total - prompt - toolInput)) },
  );
}

/** What is read of a prompt at the rate of text, and what of an answer: other modalities have rates of their own. */
const atTheRateOfText = { prompt: ['TEXT', 'IMAGE', 'VIDEO', 'DOCUMENT'], answer: ['TEXT'] };

/** Tokens of modalities that a price has no rate for, by name; undefined for none. */
function dearModalities(usage: GoogleUsage): Record<string, number> | undefined {
  const found: Record<string, number> = {};
  for (const field of details) {
    const plain = field === 'candidatesTokensDetails' ? atTheRateOfText.answer : atTheRateOfText.prompt;
    const entries = Array.isArray(usage[field]) ? (usage[field] as unknown[]).filter(isRecord) : [];
    for (const { modality, tokenCount } of entries) {
      const count = checkCount(tokenCount ?? 0, field);
      const name = typeof modality === 'string' ? modality : 'MODALITY_UNSPECIFIED';
      if (count === 0 || name === 'MODALITY_UNSPECIFIED' || plain.includes(name)) continue;
      const tool = `${name.toLowerCase()}_${field === 'candidatesTokensDetails' ? 'output' : 'input'}`;
      found[tool] = (found[tool] ?? 0) + count;
    }
  }
  return Object.keys(found).length > 0 ? found : undefined;
}

/** The tier that it was served at, where that is not the standard one. */
function modifiersFrom({ serviceTier }: GoogleUsage): UsageModifiers {
  if (serviceTier === null || serviceTier === undefined) return {};
  const tier = typeof serviceTier === 'string' ? serviceTier.toLowerCase() : JSON.stringify(serviceTier);
  return ['standard', 'unspecified', 'service_tier_unspecified'].includes(tier) ? {} : { serviceTier: tier };
}
