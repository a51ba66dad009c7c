/** One model call that was planned (plan-call.ts): made with a claimed grant, and what came of it written. */
import { CancelledFailure, Context } from '@temporalio/activity';
import type { Logger } from '../../telemetry/log';
import { formatUsd, maxUsd, parseAmountUsd, type Usd } from '../../core/money';
import type { BindingQuota } from '../../core/budget/commands';
import { doubts } from '../../core/prices/doubts';
import type { ModelPrice } from '../../core/prices/prices';
import { priceCall, type PricedCall } from '../../core/prices/price-call';
import { maxOutputTokensFor } from '../../core/prices/pricing';
import { storable } from '../../core/storable';
import { promptTokens, usageOf, type ModelUsage } from '../../core/prices/usage';
import type { Pool, PoolClient } from '../../store/pool';
import { quotaThatCut } from '../../store/cut-short';
import type { NewOutcome } from '../../store/outcomes';
import { noteModelCall } from '../../telemetry/model-calls';
import type { Claim, PaidCalls, UnpricedOutcome } from '../budget/paid-calls';
import type { ModelCallPlan, ModelReply, ToolCall } from '../../contracts/llm';
import { failure } from '../failures';
import { callSignal } from '../own-time';
import type { CodeLanguage } from './instructions';
import { isWordless } from './answers';
import { failBilled } from './failed-call';
import { broughtBy, type Block, type ModelProvider, type Prompt, type StreamedReply } from './model-provider';
import { providerOf, tokensForPartial, type Market } from './plan-call';
import { trueCountOf, type CountedPrompt } from './prompt-bound';
import type { ReplyFeed } from './reply-feed';

export interface LlmDependencies extends Market {
  pool: Pool;
  paidCalls: PaidCalls;
  log: Logger;
  codeLanguages: readonly CodeLanguage[];
  feed: ReplyFeed;
  /** A stream that is silent for this long is ended. */
  streamIdleMs?: number;
}

/** What a paid call brought. */
export interface PaidReply {
  content: Block[];
  usage: ModelUsage;
  result: ModelReply;
  grantedUsd: Usd;
  /** What it was allowed to answer: fewer than planned when it was granted in part. */
  maxOutputTokens: number;
  /** Why its cost cannot be told; absent where it can. */
  unpriced?: string;
}

export interface PaidCall {
  tenantId: string;
  runId: string;
  operationId: string;
  /** What the ledger calls it. */
  kind: 'llm.call' | 'compaction';
  plan: ModelCallPlan;
  grantedUsd: string;
  prompt: Prompt;
  onText?: (text: string) => void;
  /** What is said of the answer beside what it is. */
  judge?: (
    content: Block[],
    reply: ModelReply & Pick<StreamedReply, 'endedAs' | 'isBrokenCall'>,
  ) => Pick<ModelReply, 'misfit'>;
  /** Written together with the outcome. */
  keep: (client: PoolClient, reply: PaidReply) => Promise<void>;
}

/** Claims, calls, and writes the outcome. */
export async function makePaidCall(dependencies: LlmDependencies, call: PaidCall): Promise<ModelReply> {
  const { paidCalls, prices, streamIdleMs = 300_000 } = dependencies;
  const { plan, prompt, onText } = call;
  const { models } = await prices();
  const price = models.find((candidate) => candidate.priceVersion === plan.priceVersion);
  if (!price) throw failure('unpriced_model', `The price ${plan.priceVersion} is gone. No call was made.`);
  const provider = providerOf(dependencies, price);
  const isPartial = parseAmountUsd(call.grantedUsd) < parseAmountUsd(plan.amountUsd);
  const inputTokens = isPartial ? await tokensForPartial(provider, plan, prompt) : plan.inputTokens;
  const quotaThatCuts = isPartial ? await quotaThatCut(dependencies.pool, call) : undefined;
  return paidCalls.underClaim(call, async (claim) => {
    await paidCalls.atPoint('llm.claimed');
    const maxOutputTokens = maxTokens({ price, provider }, { ...plan, inputTokens }, claim);
    const startedMs = performance.now();
    const streamed = await provider.stream(
      { model: plan.model, price, prompt, maxOutputTokens, cacheWriteTtl: plan.cacheWriteTtl, cacheKey: call.runId },
      {
        signal: callSignal(),
        idleMs: streamIdleMs,
        onFirstOutput: () => paidCalls.atPoint('llm.streaming'),
        ...(onText ? { onText } : {}),
      },
    );
    const seconds = (performance.now() - startedMs) / 1000;
    const counted = { provider: price.provider, model: plan.model, kind: call.kind, seconds };
    const priced = streamed.usageIsFinal
      ? priceCall(() => provider.usageOf(streamed, price), { price, prices: models, at: Date.now() })
      : wholeWithoutUsage(streamed);
    if (priced && streamed.hasFailed) {
      noteModelCall({ ...counted, outcome: 'failed', usage: priced.usage }, claim);
      const { retryAfterSeconds } = provider.failureOf(streamed.error, { outputBegan: false });
      return failBilled(dependencies, { claim, runId: call.runId, priced, retryAfterSeconds });
    }
    if (!priced) {
      const { billed } = provider.failureOf(streamed.error, { outputBegan: streamed.outputBegan });
      noteModelCall({ ...counted, outcome: billed === 'no' ? 'not_billed' : 'unknown' }, claim);
      return giveUp(dependencies, { call, claim, streamed, provider });
    }
    const reply = await keepReply(dependencies, {
      call,
      claim,
      priced,
      price,
      streamed,
      maxOutputTokens,
      quotaThatCuts,
    });
    noteModelCall({ ...counted, outcome: priced.isPriced ? 'ok' : 'unpriced', usage: reply.usage }, claim);
    const { tenantId, runId, operationId } = call;
    const { costUsd } = reply;
    dependencies.log.info(
      { tenantId, runId, operationId, model: plan.model, seconds, costUsd },
      'a model call was paid',
    );
    return reply;
  });
}

/** A partial grant shortens the answer so that it fits. */
function maxTokens(
  { price, provider }: { price: ModelPrice; provider: ModelProvider },
  plan: ModelCallPlan,
  claim: Claim,
): number {
  if (claim.grantedUsd >= parseAmountUsd(plan.amountUsd)) return plan.maxOutputTokens;
  const { inputTokens, cacheWriteTtl } = plan;
  const modifiers = provider.modifiersFor(price);
  const fitting = maxOutputTokensFor(price, { inputTokens, modifiers, cacheWriteTtl, budgetUsd: claim.grantedUsd });
  return Math.max(1, Math.min(fitting, plan.maxOutputTokens));
}

/** An answer that is all there, of which the provider did not say what it used. */
const wholeWithoutUsage = ({ content, hasFailed }: StreamedReply): PricedCall | undefined =>
  content && !hasFailed
    ? {
        isPriced: false,
        code: 'invalid_usage',
        reason: doubts.noReport,
        knownUsd: 0n,
      }
    : undefined;

interface Answered {
  call: PaidCall;
  claim: Claim;
  priced: PricedCall;
  price: ModelPrice;
  provider: ModelProvider;
  streamed: StreamedReply;
  maxOutputTokens: number;
  quotaThatCuts: BindingQuota | undefined;
}

/** What the provider counted the prompt as, for the calls that go on from it. */
const countedBy = (
  { kind, prompt }: PaidCall,
  { price, usage, streamed }: { price: ModelPrice; usage: ModelUsage; streamed: StreamedReply },
): CountedPrompt =>
  kind === 'llm.call' && !streamed.leavesThoughtsOut ? { prompt: trueCountOf(prompt, price, promptTokens(usage)) } : {};

/** The tools that an answer calls for. */
export const toolCallsIn = (content: readonly Block[]): ToolCall[] =>
  content.flatMap((block) => (block.type === 'tool_use' ? [{ toolUseId: block.id, name: block.name }] : []));

/**
 * A whole answer: writes cost, usage and what the call was for together. One whose cost nobody can tell is used like any other:
 * it is settled once, unverified, at its grant, or at what is known of its cost where that is more.
 */
async function keepReply(
  { paidCalls, log }: LlmDependencies,
  { call, claim, priced, price, streamed, maxOutputTokens, quotaThatCuts }: Omit<Answered, 'provider'>,
): Promise<ModelReply> {
  const { tenantId, runId, operationId, keep } = call;
  const { grantedUsd } = claim;
  const content = storable(streamed.content ?? []);
  const unpriced = priced.isPriced ? undefined : priced.reason;
  const costUsd = priced.isPriced ? priced.costUsd : maxUsd(priced.knownUsd, grantedUsd);
  const usage = priced.usage ?? usageOf();
  const result: ModelReply = {
    stopReason: streamed.stopReason ?? 'end_turn',
    toolCalls: toolCallsIn(content),
    usage,
    costUsd: formatUsd(costUsd),
    ...(call.plan.isLast && isWordless(content) ? { isWordless: true as const } : {}),
    ...(unpriced === undefined ? {} : { isUnverified: true }),
    ...(quotaThatCuts && streamed.stopReason === 'max_tokens' && maxOutputTokens < call.plan.maxOutputTokens
      ? { cutBy: { quota: quotaThatCuts, grantedUsd: formatUsd(grantedUsd) } }
      : {}),
  };
  Object.assign(result, call.judge?.(content, { ...streamed, ...result }));
  const reply = {
    content,
    usage,
    result,
    grantedUsd,
    maxOutputTokens,
    ...(unpriced === undefined ? {} : { unpriced }),
  };
  if (unpriced !== undefined) {
    const error = new Error(unpriced);
    log.warn(
      { tenantId, runId, operationId, costUsd: result.costUsd, error },
      'a model call cannot be priced: its answer is used',
    );
  }
  const outcome: NewOutcome | UnpricedOutcome =
    unpriced === undefined
      ? { billed: true, costUsd, usage, result: { ...result, ...countedBy(call, { price, usage, streamed }) } }
      : {
          ...(costUsd > grantedUsd ? { billed: true, costUsd, isUnverified: true } : { billed: 'unknown' }),
          usage: { ...usage, unpriced, reported: streamed.usage },
          result,
        };
  await paidCalls.settle(claim, outcome, (client) => keep(client, reply));
  await paidCalls.atPoint('llm.outcome-written');
  return result;
}

/** The stream gave no final usage: surely not billed, or unknown. */
async function giveUp(
  { paidCalls, log }: LlmDependencies,
  { call, claim, streamed, provider }: Pick<Answered, 'call' | 'claim' | 'streamed' | 'provider'>,
): Promise<never> {
  const { outputBegan, error } = streamed;
  const failed = provider.failureOf(error, { outputBegan, brought: broughtBy(call.prompt) });
  const { tenantId, runId, operationId } = call;
  log.warn({ tenantId, runId, operationId, billed: failed.billed, code: failed.code }, 'a model call failed');
  if (failed.billed === 'no') {
    await paidCalls.settle(claim, { billed: false, reason: failed.code });
    const { retry, retryAfterSeconds } = failed;
    throw failure(failed.code, failed.message, {
      settled: true,
      retry,
      ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
    });
  }
  if (Context.current().cancellationSignal.aborted) throw new CancelledFailure('The model call was cancelled.');
  throw failure(failed.code, failed.message, { settled: false, retry: true });
}
