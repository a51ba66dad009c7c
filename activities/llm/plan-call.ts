/**
 * What a model call may cost, before it is made: its prompt is bounded here, which takes no provider, and the provider counts it only
 * where a bound is too rough for what hangs on it.
 */
import { ApplicationFailure } from '@temporalio/common';
import { standingOf } from '../../core/budget/quotas';
import { roomUsd } from '../../core/budget/room';
import { formatUsd, maxUsd, parseAmountUsd, type Usd } from '../../core/money';
import { omitUndefined } from '../../core/omit-undefined';
import { boundSuffices, countedWithMargin, type BoundRoom } from '../../core/prices/bounded-calls';
import { findModelPrice, type ModelPrice } from '../../core/prices/prices';
import { cacheTtlFor, type PromptCaching } from '../../core/prices/prompt-cache';
import type { CacheTtl } from '../../core/prices/usage';
import { estimateModelCall } from '../../core/prices/pricing';
import { readRest } from '../../store/envelopes';
import { readGate } from '../../store/gate';
import type { Pool } from '../../store/pool';
import type { PriceList } from '../../store/prices';
import type { RunKey } from '../../store/runs';
import type { KnownMoney, ModelCallPlan } from '../../contracts/llm';
import { lastCallUsd } from './known-money';
import { asFailure, failure } from '../failures';
import { broughtBy, type ModelProvider, type ModelProviders, type Prompt } from './model-provider';
import { boundPrompt, type TrueCount } from './prompt-bound';

/** Who serves a model, and at what price. */
export interface Market {
  providers: ModelProviders;
  prices: () => Promise<PriceList>;
}

/** The shortest answer that is of any use. */
const outputTokensMin = 256;

/** What the provider counts, and a little more; undefined for what is no count. */
const countOf = async (provider: ModelProvider, model: string, prompt: Prompt): Promise<number | undefined> =>
  countedWithMargin(await provider.countTokens(model, prompt));

/** What a bound has to stay within, or the provider counts. */
export interface Bound extends BoundRoom {
  /** What the last call of the transcript was billed for. */
  base?: TrueCount | undefined;
}

/**
 * What is left for a call of a run's models: of the tightest of the quotas that bind it, or of its envelope, whichever is more. A call is
 * granted by the one or the other.
 */
export async function roomOf(
  pool: Pool,
  { tenantId, runId, envelopeId }: RunKey & { envelopeId?: string | undefined },
): Promise<Usd | undefined> {
  const [{ quotas, userId }, restUsd = 0n] = await Promise.all([
    readGate(pool, { tenantId, conversationId: runId }),
    envelopeId === undefined ? undefined : readRest(pool, { tenantId, operationId: envelopeId }),
  ]);
  const leftUsd = roomUsd(quotas.map(standingOf), { userId, resource: 'llm' });
  return leftUsd === undefined ? undefined : maxUsd(leftUsd, restUsd);
}

export function providerOf({ providers }: Market, { provider, model }: ModelPrice): ModelProvider {
  const found = providers[provider];
  if (found) return found;
  throw failure(
    'provider_credentials',
    `The workers have no key of ${provider}, which serves ${model}. No call was made and nothing was reserved.`,
  );
}

/** Another model may take its place. */
const uncounted = (model: string): Error =>
  failure(
    'provider_unavailable',
    `The provider of ${model} did not count its prompt, which shows a file. No call was made.`,
  );

interface PlannedCall {
  model: string;
  maxOutputTokens: number;
  prompt: Prompt | number;
  /** Whether calls are to come that go on from its prompt, and how long after it. */
  caching: PromptCaching;
  /** What is left: a call that it holds only without the price of caching is made without. */
  roomUsd?: Usd | undefined;
  /** Whether a last call may come after it. */
  knows?: KnownMoney | undefined;
  bound?: Bound | undefined;
  /** Whether its provider is asked again that could not count; otherwise a bound has to do. */
  countsAgain?: boolean | undefined;
}

/** Prices a call. Without a bound its prompt is counted; one that was counted before, by the number, is priced anew. */
export async function planCall(market: Market, call: PlannedCall): Promise<ModelCallPlan>;
/** Undefined where its provider would have to count and must not be asked. */
export async function planCall(
  market: Market,
  call: PlannedCall & { mayCount: boolean },
): Promise<ModelCallPlan | undefined>;
export async function planCall(
  market: Market,
  call: PlannedCall & { mayCount?: boolean },
): Promise<ModelCallPlan | undefined> {
  const { model, prompt, bound, mayCount = true, countsAgain = true } = call;
  const { models } = await market.prices();
  let provider: ModelProvider | undefined;
  let bounded: ModelCallPlan | undefined;
  try {
    // The price first: a model that has none is refused before anybody hears of it.
    const price = findModelPrice(models, { model, at: Date.now() });
    provider = providerOf(market, price);
    const priced = pricing(provider, price, call);
    if (typeof prompt === 'number') return priced(prompt);
    const { tokens, roughTokens } = boundPrompt(prompt, price, bound?.base);
    if (tokens === Infinity) {
      if (!mayCount) return undefined;
      const counted = await countOf(provider, model, prompt);
      if (counted !== undefined) return priced(counted);
      throw uncounted(model);
    }
    bounded = { ...priced(tokens), isBound: true as const };
    const { inputTokens, maxOutputTokens } = bounded;
    const amountUsd = parseAmountUsd(bounded.amountUsd);
    if (bound && boundSuffices({ inputTokens, roughTokens, maxOutputTokens, amountUsd }, price, bound)) return bounded;
    if (!mayCount) return undefined;
    const counted = await countOf(provider, model, prompt);
    return counted === undefined ? bounded : priced(counted);
  } catch (error) {
    if (error instanceof ApplicationFailure) throw error;
    const known = asFailure(error, ['unpriced_model', 'unpriced_usage', 'invalid_price']);
    if (known !== error || !provider) throw known;
    const brought = typeof prompt === 'number' ? [] : broughtBy(prompt);
    const failed = provider.failureOf(error, { outputBegan: false, brought });
    if (failed.billed === 'no' && !failed.retry) throw failure(failed.code, failed.message);
    if (!countsAgain) {
      if (bounded) return bounded;
      throw uncounted(model);
    }
    // Counting is free, so Temporal repeats it.
    throw new Error(`The prompt could not be counted: ${failed.code}.`, { cause: (error as Error).name });
  }
}

const pricing =
  (
    provider: ModelProvider,
    price: ModelPrice,
    { model, maxOutputTokens, caching, roomUsd, knows }: Omit<PlannedCall, 'prompt' | 'bound'>,
  ) =>
  (inputTokens: number): ModelCallPlan => {
    const modifiers = provider.modifiersFor(price);
    const estimateAt = (outputTokens: number, ttl?: CacheTtl): Usd =>
      estimateModelCall(price, { inputTokens, maxOutputTokens: outputTokens, modifiers, cacheWriteTtl: ttl });
    const asked = cacheTtlFor(price, caching);
    const fits = (outputTokens: number, ttl: CacheTtl | undefined): boolean =>
      roomUsd === undefined || estimateAt(outputTokens, ttl) <= roomUsd;
    const leastTokens = Math.min(outputTokensMin, maxOutputTokens);
    // Where its answer is kept short all the same, what a cache saves is worth more than what is reserved for it.
    const isMarked = fits(maxOutputTokens, asked) || (!fits(maxOutputTokens, undefined) && fits(leastTokens, asked));
    const cacheWriteTtl = isMarked ? asked : undefined;
    const estimate = (outputTokens: number): string => formatUsd(estimateAt(outputTokens, cacheWriteTtl));
    return {
      model,
      priceVersion: price.priceVersion,
      inputTokens,
      ...omitUndefined({ cacheWriteTtl }),
      ...(knows ? { lastCallUsd: lastCallUsd(price, { inputTokens, maxOutputTokens, modifiers }) } : {}),
      maxOutputTokens,
      amountUsd: estimate(maxOutputTokens),
      minimumUsd: estimate(leastTokens),
    };
  };

/**
 * A prompt's tokens for an answer that is to fit a grant smaller than was asked for: counted, since each token that a bound is too high is one
 * that the answer has to do without. The bound, where the provider does not say.
 */
export async function tokensForPartial(
  provider: ModelProvider,
  { model, inputTokens, isBound }: ModelCallPlan,
  prompt: Prompt,
): Promise<number> {
  if (!isBound) return inputTokens;
  const counted = await countOf(provider, model, prompt).catch(() => undefined);
  return Math.min(inputTokens, counted ?? inputTokens);
}
