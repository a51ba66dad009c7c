/** The activities of Temporal's AI SDK integration that call models: what each can cost at most, and what it cost. */
import { omitUndefined } from '../../core/omit-undefined';
import { outputTokensMax } from '../../core/prices/output-limits';
import { priceCall } from '../../core/prices/price-call';
import { estimateModelCall } from '../../core/prices/pricing';
import { findModelPrice, UnpricedModelError, type ModelPrice } from '../../core/prices/prices';
import { openAiRegion } from '../../core/prices/regions-openai';
import { textTokensMax, valueTokensMax, overheads } from '../../core/prices/token-bounds';
import { answersBeyondText, searchesByItself } from '../../core/prices/unbounded-models';
import { isRecord, MAX_COUNT, type ModelUsage } from '../../core/prices/usage';
import { outcomeOfError } from './call-errors';
import { checkHeaders } from './call-headers';
import type { CallOutcome } from './money';
import type { PlannedActivity } from './planned-call';
import { promptTokensMax } from './prompt-bound';
import {
  cacheWritesOf,
  modifiersOf,
  optionsOf,
  vouchedFor,
  withTier,
  type OpenAiTerms,
  type OtherOptions,
} from './provider-options';
import { refused, unbounded } from './refused';
import { usageOfEmbedding, usageOfResult } from './usage';

export interface ModelTerms extends OpenAiTerms {
  /** Given to a call that names no `maxOutputTokens`: nothing else bounds what its answer costs. */
  maxOutputTokens: number;
  /** The most tokens that an image or a file in a prompt comes to; without it such prompts are refused. */
  fileTokensMax?: number | undefined;
  /** The model in the price list that a model of the agent's is. */
  modelOf: (modelId: string) => string;
  /** Whether OpenAI is asked at one of its regional addresses. */
  isRegional: boolean;
  /** Options of other providers that cost nothing apart, by the provider's name. */
  otherOptions: OtherOptions;
  /** Headers of calls that change nothing of what they cost, beside those that are known. */
  otherHeaders?: readonly string[] | undefined;
}

/** Of a registry of providers: `anthropic:claude-…`, or `anthropic/claude-…`. */
const named = /^(anthropic|openai|google)[:/](.+)$/;
export const plainModel = (modelId: string): string => named.exec(modelId)?.[2] ?? modelId;

const longestAnswer = 128_000;
/** What thinking adds to the answer of a model of Anthropic's, at most: these shares of the longest answer that one has. */
const thinkingShare: Partial<Record<string, number>> = { minimal: 0.02, low: 0.1, medium: 0.3, high: 0.6 };

/** The price of the model that a call names. @throws UnpricedModelError, or ApplicationFailure. */
function priceOf(call: Record<string, unknown>, prices: readonly ModelPrice[], { modelOf }: ModelTerms): ModelPrice {
  const { modelId } = call;
  if (typeof modelId !== 'string' || modelId === '')
    throw refused('invalid_request', 'modelId: the name of a model is needed. No call was made.');
  const model = modelOf(modelId);
  const price = findModelPrice(prices, { model: model.slice(0, 200), at: Date.now() });
  const provider = model === modelId ? undefined : named.exec(modelId)?.[1];
  if (provider === undefined || provider === price.provider) return price;
  throw new UnpricedModelError(model, ` at ${provider}: it is one of ${price.provider}`);
}

type Planned = (args: readonly unknown[], prices: readonly ModelPrice[], terms: ModelTerms) => PlannedActivity;

const planModelCall: Planned = (args, prices, terms) => {
  const call = isRecord(args[0]) ? args[0] : {};
  const price = priceOf(call, prices, terms);
  refuseUnbounded(price);
  const asked = isRecord(call.options) ? call.options : {};
  checkHeaders(asked.headers, terms.otherHeaders);
  const providerOptions = withTier(asked.providerOptions, price, { ...terms, modelId: String(call.modelId) });
  const options = optionsOf(providerOptions, price, terms);
  const ownMax = asked.maxOutputTokens ?? options.maxCompletionTokens ?? terms.maxOutputTokens;
  const maxOutputTokens = Math.max(...[ownMax, options.maxCompletionTokens ?? 1].map(checkLimit));
  const storedThoughtTokens = price.provider === 'openai' ? storedMax(price.model, maxOutputTokens) : 0;
  const inputTokens = promptTokensMax(asked, {
    ...{ fileTokensMax: terms.fileTokensMax, vouchedFor: vouchedFor(price.provider, terms), storedThoughtTokens },
    storedPartTokens: options.store === false ? 0 : storedThoughtTokens,
  });
  const caches = cacheWritesOf(asked);
  const { serviceTier } = options;
  const named = {
    ...{ ...caches, isRegional: terms.isRegional },
    defaultTierIsOpen: terms.openAiServiceTier !== 'default',
    serviceTier: typeof serviceTier === 'string' ? serviceTier : undefined,
  };
  const priced = (result: unknown): CallOutcome => outcomeOf(() => usageOfResult(result, price, named), price, prices);
  return {
    ...{ resource: 'llm', kind: 'llm.call', model: price.model, priceVersion: price.priceVersion },
    call: { provider: price.provider, operation: 'chat' },
    amountUsd: estimateModelCall(price, {
      inputTokens,
      maxOutputTokens: Math.min(MAX_COUNT, maxOutputTokens + thinkingBeside(asked, options, price)),
      ...modifiersOf(options, price, terms),
      ...caches,
    }),
    args: [
      { ...call, options: { ...asked, ...omitUndefined({ providerOptions }), maxOutputTokens: ownMax } },
      ...args.slice(1),
    ],
    priced,
    kept: withoutRequest,
    failed: (error) => outcomeOfError(error, priced),
  };
};

/** A model may bring by itself what no price bounds, as through the proxy. */
function refuseUnbounded({ provider, model }: ModelPrice): void {
  const name = `The model ${JSON.stringify(model)}`;
  if (provider === 'openai' && searchesByItself(model)) throw unbounded(`${name} searches by itself`);
  if (provider === 'google' && answersBeyondText(model)) throw unbounded(`${name} answers with more than text`);
}

/** It was made by a call before this one, whose limit may have been another. */
const storedMax = (model: string, ownMax: number): number => Math.max(ownMax, outputTokensMax(model) ?? longestAnswer);

function checkLimit(value: unknown): number {
  if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= MAX_COUNT) return value as number;
  throw refused(
    'invalid_request',
    'maxOutputTokens: a whole number above 0 is needed; it bounds what the answer costs. No call was made.',
  );
}

/** Anthropic's provider adds the budget of thoughts to the longest answer; those of others are within it. */
function thinkingBeside(
  { reasoning }: Record<string, unknown>,
  { thinking }: Record<string, unknown>,
  { provider }: ModelPrice,
): number {
  if (provider !== 'anthropic') return 0;
  if (isRecord(thinking)) {
    if (thinking.type !== 'enabled') return 0;
    return thinking.budgetTokens === undefined ? 1_024 : checkLimit(thinking.budgetTokens);
  }
  if (typeof reasoning !== 'string' || reasoning === 'none' || reasoning === 'provider-default') return 0;
  return longestAnswer * (thinkingShare[reasoning] ?? 1);
}

const planEmbedding: Planned = (args, prices, terms) => {
  const call = isRecord(args[0]) ? args[0] : {};
  const price = priceOf(call, prices, terms);
  optionsOf(call.providerOptions, price, terms);
  checkHeaders(call.headers, terms.otherHeaders);
  const region = price.provider === 'openai' && terms.isRegional ? { inferenceGeo: openAiRegion } : {};
  const values = Array.isArray(call.values) ? (call.values as unknown[]) : [];
  const inputTokens = values.reduce<number>(
    (sum, value) =>
      sum + overheads.blockTokens + (typeof value === 'string' ? textTokensMax(value) : valueTokensMax(value)),
    overheads.promptTokens,
  );
  const priced = (result: unknown): CallOutcome =>
    outcomeOf(() => usageOfEmbedding(result, price, region), price, prices);
  return {
    ...{ resource: 'llm', kind: 'llm.call', model: price.model, priceVersion: price.priceVersion },
    call: { provider: price.provider, operation: 'embeddings' },
    amountUsd: estimateModelCall(price, {
      inputTokens,
      maxOutputTokens: 0,
      modifiers: region,
    }),
    priced,
    kept: withoutRequest,
    failed: (error) => outcomeOfError(error, priced),
  };
};

/** What was asked stays with who asked: no more is kept than the next attempt lacks. */
function withoutRequest(result: unknown): unknown {
  if (!isRecord(result)) return result;
  const { request: _, ...answer } = result;
  return answer;
}

function outcomeOf(read: () => ModelUsage, price: ModelPrice, prices: readonly ModelPrice[]): CallOutcome {
  const priced = priceCall(read, { price, prices, at: Date.now() });
  const { usage } = priced;
  if (priced.isPriced) return { billed: 'known', costUsd: priced.costUsd, usage };
  return { billed: 'unknown', knownUsd: priced.knownUsd, usage, reason: priced.reason };
}

/** By the names that the integration gives its activities. */
export const modelActivities: Partial<Record<string, Planned>> = {
  invokeModel: planModelCall,
  invokeModelStreaming: planModelCall,
  invokeEmbeddingModel: planEmbedding,
};
