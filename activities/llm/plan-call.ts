/**
 * What a model call may cost, before it is made: its prompt is bounded here, which takes no provider, and the provider counts it only
 * where a bound is too rough for what hangs on it.
 */
import { tightest, headroomUsd, standingOf, covers } from '../../core/budget/quotas';
import { formatUsd, parseAmountUsd, type Usd } from '../../core/money';
import { findModelPrice, type ModelPrice } from '../../core/prices/prices';
import { estimateModelCall } from '../../core/prices/pricing';
import { MAX_COUNT } from '../../core/prices/usage';
import { readGate } from '../../store/gate';
import type { Pool } from '../../store/pool';
import type { PriceList } from '../../store/prices';
import type { RunKey } from '../../store/runs';
import type { ModelCallPlan } from '../../contracts/llm';
import { asFailure, failure } from '../failures';
import type { ModelProvider, ModelProviders, Prompt } from './model-provider';
import { boundPrompt, type TrueCount } from './prompt-bound';

/** Who serves a model, and at what price. */
export interface Market {
  providers: ModelProviders;
  prices: () => Promise<PriceList>;
}

/** The shortest answer that is of any use. */
const outputTokensMin = 256;

/**
 * What is left has to hold a bound this many times over: nearer to the end of a budget calls are counted, so that neither
 * this one nor those that run beside it are denied for what they do not need.
 */
const roomFactor = 10n;

/**
 * So many tokens may be bounded and not counted, whatever they cost. More may where they cost no more than the longest answer: a call whose
 * cost is never learned is charged what was reserved, so that must not be many times too much.
 */
const roughTokensMax = 8_192;

/** Providers call their count an estimate, so a little is added before it is priced. */
const withMargin = (tokens: number): number => Math.ceil(tokens * 1.02) + 16;

/**
 * What the provider counts, and a little more. Undefined for what is no count of a prompt: a page of a proxy, nothing, a zero. A call would be
 * granted too little by it.
 */
async function countOf(provider: ModelProvider, model: string, prompt: Prompt): Promise<number | undefined> {
  const tokens = await provider.countTokens(model, prompt);
  return Number.isInteger(tokens) && tokens > 0 && tokens <= MAX_COUNT ? withMargin(tokens) : undefined;
}

/** What a bound has to stay within, or the provider counts. */
export interface Bound {
  /** What the last call of the transcript was billed for. */
  base?: TrueCount | undefined;
  /** What is left of the tightest quota; absent where none binds. */
  quotaUsd?: Usd | undefined;
  /** What is left of the run's own limit. */
  leftUsd?: Usd | undefined;
  /** More tokens than this have a consequence: the context is compacted. */
  tokensMax?: number | undefined;
}

/** What is left for a run's calls of models, of the tightest of the quotas that bind it. */
export async function roomOf(pool: Pool, { tenantId, runId }: RunKey): Promise<Usd | undefined> {
  const { quotas, userId } = await readGate(pool, { tenantId, conversationId: runId });
  const binding = quotas.map(standingOf).filter((quota) => covers(quota, { userId, resource: 'llm' }));
  const full = tightest(binding);
  return full && headroomUsd(full);
}

export function providerOf({ providers }: Market, { provider, model }: ModelPrice): ModelProvider {
  const found = providers[provider];
  if (found) return found;
  throw failure(
    'provider_credentials',
    `The workers have no key of ${provider}, which serves ${model}. No call was made and nothing was reserved.`,
  );
}

interface PlannedCall {
  model: string;
  maxOutputTokens: number;
  prompt: Prompt | number;
  bound?: Bound | undefined;
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
  const { model, prompt, bound, mayCount = true } = call;
  const { models } = await market.prices();
  let provider: ModelProvider | undefined;
  try {
    // The price first: a model that has none is refused before anybody hears of it.
    const price = findModelPrice(models, { model, at: Date.now() });
    provider = providerOf(market, price);
    const priced = pricing(provider, price, call);
    if (typeof prompt === 'number') return priced(prompt);
    const { tokens, roughTokens } = boundPrompt(prompt, price, bound?.base);
    const bounded = { ...priced(tokens), isBound: true as const };
    if (bound && suffices({ ...bounded, roughTokens }, price, bound)) return bounded;
    if (!mayCount) return undefined;
    const counted = await countOf(provider, model, prompt);
    return counted === undefined ? bounded : priced(counted);
  } catch (error) {
    const known = asFailure(error, ['unpriced_model', 'unpriced_usage', 'invalid_price']);
    if (known !== error || !provider) throw known;
    const failed = provider.failureOf(error, { outputBegan: false });
    if (failed.billed === 'no' && !failed.retry) throw failure(failed.code, failed.message);
    // Counting is free, so Temporal repeats it.
    throw new Error(`The prompt could not be counted: ${failed.code}.`, { cause: (error as Error).name });
  }
}

const pricing =
  (
    provider: ModelProvider,
    price: ModelPrice,
    { model, maxOutputTokens }: { model: string; maxOutputTokens: number },
  ) =>
  (inputTokens: number): ModelCallPlan => {
    const modifiers = provider.modifiersFor(price);
    const estimate = (outputTokens: number): string =>
      formatUsd(estimateModelCall(price, { inputTokens, maxOutputTokens: outputTokens, modifiers }));
    return {
      model,
      priceVersion: price.priceVersion,
      inputTokens,
      maxOutputTokens,
      amountUsd: estimate(maxOutputTokens),
      minimumUsd: estimate(Math.min(outputTokensMin, maxOutputTokens)),
    };
  };

/** Whether nothing that a count could tell would change anything. */
function suffices(
  { inputTokens, roughTokens, maxOutputTokens, amountUsd }: ModelCallPlan & { roughTokens: number },
  price: ModelPrice,
  { quotaUsd, leftUsd, tokensMax = Infinity }: Bound,
): boolean {
  const amount = parseAmountUsd(amountUsd);
  if (quotaUsd !== undefined && quotaUsd < amount * roomFactor) return false;
  if (leftUsd !== undefined && leftUsd < amount) return false;
  if (inputTokens > Math.min(tokensMax, price.longContext?.thresholdTokens ?? Infinity)) return false;
  const roughUsd = estimateModelCall(price, { inputTokens: roughTokens, maxOutputTokens: 0 });
  return roughTokens <= roughTokensMax || roughUsd <= estimateModelCall(price, { inputTokens: 0, maxOutputTokens });
}

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
