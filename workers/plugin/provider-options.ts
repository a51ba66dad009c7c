/**
 * Options of a provider that a call of the AI SDK may have. Each is known here, or the call is refused by its name: what nobody knows may
 * be billed apart, or bring what the provider has stored.
 */
import { dearestModifiers, type PlannedCall } from '../../core/prices/pricing';
import type { ModelPrice } from '../../core/prices/prices';
import { isOpenAiAddress, openAiRegion } from '../../core/prices/regions-openai';
import { openAiTierOf } from '../../core/prices/tiers-openai';
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

/** The names that a provider's own SDK looks under; the first of them that a call has is the one that counts. Its own unless named here. */
const ownNames: Partial<Record<string, readonly string[]>> = {
  openai: ['openai', 'azure'],
  google: ['google', 'googleVertex', 'vertex'],
};
/** What changes the price, or how much is sent: nobody reads it where it does not stand under a provider's own name. */
const priced = ['inferenceGeo', 'maxCompletionTokens', 'serviceTier', 'speed', 'store', 'thinking'];

/**
 * All options of a call. A provider's SDK reads some of the names that they stand under, so that none may say what another does not.
 * @param terms.otherOptions those that whoever runs this vouches for, by their provider.
 * @throws ApplicationFailure for one that is not known, and for one that stands where it may not be read.
 */
export function optionsOf(
  given: unknown,
  { provider }: Pick<ModelPrice, 'provider'>,
  terms: { otherOptions: OtherOptions },
): Record<string, unknown> {
  const fields = [...(Object.hasOwn(known, provider) ? (known[provider] ?? []) : []), ...vouchedFor(provider, terms)];
  const all: Record<string, unknown> = {};
  for (const options of isRecord(given) ? Object.values(given) : []) {
    for (const [name, value] of isRecord(options) ? Object.entries(options) : []) {
      if (value === null || value === undefined) continue;
      if (!fields.includes(name)) throw unbounded(`The option ${JSON.stringify(name)} is not known here`);
      if (Object.hasOwn(all, name) && JSON.stringify(all[name]) !== JSON.stringify(value)) throw unclear(name);
      all[name] = value;
    }
  }
  for (const name of priced) checkOwn(name, { given, said: all[name], provider });
  if (all.reasoningMode !== undefined && all.reasoningMode !== 'standard')
    throw unbounded('The option "reasoningMode"');
  const { contextManagement: managed } = all;
  const edits = isRecord(managed) && Array.isArray(managed.edits) ? (managed.edits as unknown[]) : [];
  for (const edit of edits)
    if (!isRecord(edit) || typeof edit.type !== 'string' || !edit.type.startsWith('clear_'))
      throw unbounded('The option "contextManagement" with an edit that clears nothing');
  return all;
}

export type OtherOptions = Readonly<Record<string, readonly string[]>>;

/** The options of a provider that whoever runs this says cost nothing apart. */
export const vouchedFor = (provider: string, { otherOptions }: { otherOptions: OtherOptions }): readonly string[] =>
  Object.hasOwn(otherOptions, provider) ? (otherOptions[provider] ?? []) : [];

/** Each of the provider's own names that the call has says the same of it. */
function checkOwn(name: string, { given, said, provider }: { given: unknown; said: unknown; provider: string }): void {
  if (said === undefined) return;
  const own = Object.hasOwn(ownNames, provider) ? (ownNames[provider] ?? []) : [provider];
  const options = own.flatMap((key) => (isRecord(given) && isRecord(given[key]) ? [given[key]] : []));
  const isRead = options.length > 0 && options.every((of) => of[name] !== null && of[name] !== undefined);
  if (!isRead) throw unclear(name, ` (say it under ${own.map((key) => JSON.stringify(key)).join(' or ')})`);
}

const unclear = (name: string, where = ''): Error =>
  unbounded(`The option ${JSON.stringify(name)} stands under names of which its provider may not read each${where}`);

/** `default`: it is the standard one. `auto`: it may be a dearer one, and is left to stand. */
export type OpenAiServiceTier = 'default' | 'auto';

/** What is known of who serves OpenAI's models. */
export interface OpenAiTerms {
  /** The address that they are asked at; OpenAI's own unless given. */
  openAiBaseUrl?: string | undefined;
  /** What is known of the default tier of its project. */
  openAiServiceTier?: OpenAiServiceTier | undefined;
}

/**
 * The options of a call of OpenAI's that names no tier, with the standard one: the default of its project may cost 2.5 times that, and a
 * stream does not say which served it. Other servers that speak its protocol may refuse what they do not know, and are told nothing.
 */
export function withTier(
  given: unknown,
  { provider }: Pick<ModelPrice, 'provider'>,
  { modelId, openAiBaseUrl, openAiServiceTier }: OpenAiTerms & { modelId: string },
): unknown {
  const all = isRecord(given) ? given : {};
  const own = isRecord(all.openai) ? all.openai : {};
  if (provider !== 'openai' || openAiServiceTier !== undefined || own.serviceTier != null) return given;
  const isOpenAi = isOpenAiAddress(openAiBaseUrl) && isNamedOpenAi(modelId) && !('azure' in all);
  return isOpenAi ? { ...all, openai: { ...own, serviceTier: 'default' } } : given;
}

/** By the name that a registry of providers has for it; a model without one is of the only provider. A tuned model's begins with `ft:`. */
const isNamedOpenAi = (modelId: string): boolean => /^(openai[:/]|ft:|[^:/]*$)/.test(modelId);

const saidIn = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

/** What of them changes the price. What is left open follows the account's defaults, at their dearest. */
export function modifiersOf(
  options: Record<string, unknown>,
  price: ModelPrice,
  { isRegional, openAiServiceTier }: Pick<OpenAiTerms, 'openAiServiceTier'> & { isRegional: boolean },
): Pick<PlannedCall, 'modifiers' | 'openFactor'> {
  if (price.provider !== 'openai') return { modifiers: modifiersOfOthers(options, price) };
  // Of a model that does not have it in the AI SDK's list, its provider leaves this tier out.
  const tier = options.serviceTier === 'flex' ? undefined : options.serviceTier;
  const planned = openAiTierOf(tier, price, { defaultIsStandard: openAiServiceTier === 'default' });
  return { ...planned, modifiers: { ...planned.modifiers, ...(isRegional ? { inferenceGeo: openAiRegion } : {}) } };
}

function modifiersOfOthers(
  { serviceTier, speed, inferenceGeo }: Record<string, unknown>,
  price: ModelPrice,
): UsageModifiers {
  const isOpen = serviceTier === undefined || serviceTier === 'auto';
  const tier = isOpen
    ? dearestModifiers(price, 'serviceTier')
    : ['default', 'standard', 'standard_only'].includes(saidIn(serviceTier))
      ? {}
      : { serviceTier: saidIn(serviceTier) };
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
