/**
 * Options of a provider that a call of the AI SDK may have. Each is known here, or the call is refused by its name: what nobody knows may
 * be billed apart, or bring what the provider has stored.
 */
import { dearestModifiers } from '../../core/prices/pricing';
import type { ModelPrice } from '../../core/prices/prices';
import { openAiRegion } from '../../core/prices/regions-openai';
import { isRecord, type UsageModifiers } from '../../core/prices/usage';
import { unbounded } from './refused';

const known: Partial<Record<string, readonly string[]>> = {
  anthropic: [
    ...['anthropicBeta', 'cacheControl', 'contextManagement', 'disableParallelToolUse', 'effort', 'includePings'],
    ...['inferenceGeo', 'metadata', 'sendReasoning', 'serviceTier', 'speed', 'structuredOutputMode', 'taskBudget'],
    ...['thinking', 'toolStreaming'],
  ],
  openai: [
    ...['allowedTools', 'forceReasoning', 'include', 'instructions', 'logitBias', 'logprobs', 'maxCompletionTokens'],
    ...['maxToolCalls', 'metadata', 'parallelToolCalls', 'passThroughUnsupportedFiles', 'promptCacheKey'],
    ...['promptCacheRetention', 'reasoningEffort', 'reasoningMode', 'reasoningSummary', 'safetyIdentifier'],
    ...['serviceTier', 'store', 'strictJsonSchema', 'structuredOutputs', 'systemMessageMode', 'textFormat'],
    ...['textVerbosity', 'truncation', 'user', 'dimensions'],
  ],
  google: [
    ...['labels', 'mediaResolution', 'outputDimensionality', 'safetySettings', 'structuredOutputs', 'taskType'],
    ...['thinkingConfig', 'threshold'],
  ],
};

/** All options of a call, whichever name its provider goes by. @throws ApplicationFailure for one that is not known. */
export function optionsOf(given: unknown, { provider }: Pick<ModelPrice, 'provider'>): Record<string, unknown> {
  const fields = known[provider];
  const all: Record<string, unknown> = {};
  for (const options of isRecord(given) ? Object.values(given) : []) {
    if (!isRecord(options)) continue;
    for (const [name, value] of Object.entries(options)) {
      if (value === null || value === undefined) continue;
      if (fields && !fields.includes(name)) throw unbounded(`The option ${JSON.stringify(name)} is not known here`);
      all[name] = value;
    }
  }
  if (all.reasoningMode !== undefined && all.reasoningMode !== 'standard')
    throw unbounded('The option "reasoningMode"');
  const { contextManagement: managed } = all;
  const edits = isRecord(managed) && Array.isArray(managed.edits) ? (managed.edits as unknown[]) : [];
  for (const edit of edits)
    if (!isRecord(edit) || typeof edit.type !== 'string' || !edit.type.startsWith('clear_'))
      throw unbounded('The option "contextManagement" with an edit that clears nothing');
  return all;
}

const saidIn = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

/** What of them changes the price. What is left open follows the account's defaults, at their dearest. */
export function modifiersOf(
  { serviceTier, speed, inferenceGeo }: Record<string, unknown>,
  price: ModelPrice,
  { isRegional }: { isRegional: boolean },
): UsageModifiers {
  const isOpen = serviceTier === undefined || serviceTier === 'auto';
  const tier = isOpen
    ? dearestModifiers(price, 'serviceTier')
    : ['default', 'standard', 'standard_only'].includes(saidIn(serviceTier))
      ? {}
      : { serviceTier: saidIn(serviceTier) };
  if (price.provider === 'openai') return { ...tier, ...(isRegional ? { inferenceGeo: openAiRegion } : {}) };
  return {
    ...tier,
    ...(speed === undefined || speed === 'standard' ? {} : { speed: saidIn(speed) }),
    ...(inferenceGeo === undefined
      ? dearestModifiers(price, 'inferenceGeo')
      : inferenceGeo === 'global'
        ? {}
        : { inferenceGeo: saidIn(inferenceGeo) }),
  };
}

/** The longest lifetime that a cache is asked for, wherever it is asked. */
export function cacheWritesOf(call: unknown): { cacheWriteTtl?: '5m' | '1h' } {
  let found: '5m' | '1h' | undefined;
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return;
    for (const [name, inner] of Object.entries(value)) {
      const isControl = name === 'cacheControl' || name === 'cache_control';
      if (isControl && isRecord(inner)) found = inner.ttl === '1h' || found === '1h' ? '1h' : '5m';
      visit(inner);
    }
  };
  visit(call);
  return found === undefined ? {} : { cacheWriteTtl: found };
}
