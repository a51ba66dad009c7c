/** The model activities: plan a call (free), make it (paid), keep what came. */
import type Anthropic from '@anthropic-ai/sdk';
import { APIError } from '@anthropic-ai/sdk';
import { CancelledFailure, Context } from '@temporalio/activity';
import type { Logger } from 'pino';
import { formatUsd, parseAmountUsd } from '../../core/money';
import { findModelPrice, type ModelPrice } from '../../core/prices';
import { costOfUsage, estimateModelCall, maxOutputTokensFor } from '../../core/pricing';
import { usageFromAnthropic } from '../../core/usage-anthropic';
import type { Pool } from '../../store/pool';
import { appendRunEvent, findRun, type RunKey } from '../../store/runs';
import type { PriceList } from '../../store/prices';
import { readTranscript, replySequence, writeTranscriptMessage } from '../../store/transcripts';
import type { Claim, PaidStep } from '../budget/paid-step';
import type { CallModel, LlmActivities, ModelCallPlan, ModelReply, PrepareModelCall } from '../contracts/llm';
import { asFailure, failure } from '../failures';
import { withHeartbeats } from '../heartbeat';
import { systemPrompt, taskMessage, toolsFor, type CodeLanguage } from './agent-prompt';
import { callFailure } from './provider-errors';
import { streamMessage, type StreamedMessage } from './stream';

export interface LlmDependencies {
  pool: Pool;
  /** Made with `maxRetries: 0`: every attempt can bill, so each has a reservation of its own. */
  anthropic: Anthropic;
  prices: () => Promise<PriceList>;
  paidStep: PaidStep;
  log: Logger;
  codeLanguages: readonly CodeLanguage[];
  /** A stream that is silent for this long is ended. */
  streamIdleMs?: number;
}

/** The shortest answer that is of any use. */
const outputTokensMin = 256;

/** The provider calls its count an estimate, so a little is added before it is priced. */
const withMargin = (tokens: number): number => Math.ceil(tokens * 1.02) + 16;

export function createLlmActivities(dependencies: LlmDependencies): LlmActivities {
  return {
    prepareModelCall: (request) => prepareModelCall(dependencies, request),
    callModel: (request) => withHeartbeats(() => callModel(dependencies, request)),
  };
}

async function prompt({ pool, codeLanguages }: LlmDependencies, run: RunKey): Promise<PromptParams> {
  const [found, transcript] = await Promise.all([findRun(pool, run), readTranscript(pool, run)]);
  if (!found) throw failure('not_found', `There is no run ${run.runId}. No call was made.`);
  const said = transcript.map(({ role, content }) => ({ role, content }) as Anthropic.MessageParam);
  return { system: systemPrompt, tools: toolsFor(codeLanguages), messages: [taskMessage(found), ...said] };
}
type PromptParams = Required<Pick<Anthropic.MessageCreateParams, 'messages' | 'system' | 'tools'>>;

async function prepareModelCall(dependencies: LlmDependencies, request: PrepareModelCall): Promise<ModelCallPlan> {
  const { model, maxOutputTokens } = request;
  const { models } = await dependencies.prices();
  const params = await prompt(dependencies, request);
  try {
    // The price first: a model that has none is refused before anybody hears of it.
    const price = findModelPrice(models, { model, at: Date.now() });
    const counted = await dependencies.anthropic.messages.countTokens({ model, ...params });
    const inputTokens = withMargin(counted.input_tokens);
    const minimumTokens = Math.min(outputTokensMin, maxOutputTokens);
    return {
      model,
      priceVersion: price.priceVersion,
      inputTokens,
      maxOutputTokens,
      amountUsd: formatUsd(estimateModelCall(price, { inputTokens, maxOutputTokens })),
      minimumUsd: formatUsd(estimateModelCall(price, { inputTokens, maxOutputTokens: minimumTokens })),
    };
  } catch (error) {
    if (!(error instanceof APIError)) throw asFailure(error, ['unpriced_model', 'unpriced_usage', 'invalid_price']);
    const failed = callFailure(error, { outputBegan: false });
    if (failed.billed === 'no' && !failed.retry) throw failure(failed.code, failed.message);
    // Counting is free, so Temporal repeats it.
    throw new Error(`The prompt could not be counted: status ${error.status ?? 'none'}.`);
  }
}

async function callModel(dependencies: LlmDependencies, request: CallModel): Promise<ModelReply> {
  const { paidStep, anthropic, streamIdleMs = 60_000 } = dependencies;
  const { plan } = request;
  await paidStep.atPoint('llm.before-claim');
  // Everything that can fail for free comes before the claim.
  const [params, { models }] = await Promise.all([prompt(dependencies, request), dependencies.prices()]);
  const price = models.find((candidate) => candidate.priceVersion === plan.priceVersion);
  if (!price) throw failure('unpriced_model', `The price ${plan.priceVersion} is gone. No call was made.`);
  const claim = await paidStep.claim(request);
  await paidStep.atPoint('llm.claimed');
  const maxOutputTokens = maxTokens(price, plan, claim);
  const streamed = await streamMessage(
    anthropic,
    { model: plan.model, max_tokens: maxOutputTokens, ...params },
    {
      signal: Context.current().cancellationSignal,
      idleMs: streamIdleMs,
      onFirstOutput: () => paidStep.atPoint('llm.streaming'),
    },
  );
  if (streamed.usageIsFinal) return keepReply(dependencies, { request, claim, price, streamed, maxOutputTokens });
  return giveUp(dependencies, { claim, streamed });
}

/** A partial grant shortens the answer so that it fits. */
function maxTokens(price: ModelPrice, plan: ModelCallPlan, claim: Claim): number {
  if (claim.grantedUsd >= parseAmountUsd(plan.amountUsd)) return plan.maxOutputTokens;
  const { inputTokens } = plan;
  const fitting = maxOutputTokensFor(price, { inputTokens, budgetUsd: claim.grantedUsd });
  return Math.max(1, Math.min(fitting, plan.maxOutputTokens));
}

interface Reply {
  request: CallModel;
  claim: Claim;
  price: ModelPrice;
  streamed: StreamedMessage;
  /** What the call was allowed to answer: fewer than planned when it was granted in part. */
  maxOutputTokens: number;
}

/** Billed and known: writes cost, usage and the message together. */
async function keepReply(
  { paidStep, log }: LlmDependencies,
  { request, claim, price, streamed, maxOutputTokens }: Reply,
): Promise<ModelReply> {
  const { tenantId, runId, step, operationId } = request;
  const content = streamed.content ?? [];
  let cost;
  try {
    const usage = usageFromAnthropic(streamed.usage);
    cost = { usage, costUsd: costOfUsage(price, usage).costUsd };
  } catch (error) {
    log.error(
      { tenantId, runId, operationId, error: String(error) },
      'a model call reported usage that cannot be priced',
    );
    throw failure('outcome_unknown', (error as Error).message, { settled: false, retry: true });
  }
  const reply: ModelReply = {
    stopReason: streamed.stopReason ?? 'end_turn',
    toolCalls: content.flatMap((block) =>
      block.type === 'tool_use' ? [{ toolUseId: block.id, name: block.name }] : [],
    ),
    usage: cost.usage,
    costUsd: formatUsd(cost.costUsd),
  };
  await paidStep.settle(
    claim,
    { billed: true, costUsd: cost.costUsd, usage: cost.usage, result: reply },
    async (client) => {
      const message = { sequence: replySequence(step), role: 'assistant' as const, content };
      await writeTranscriptMessage(client, { tenantId, runId, operationId, ...message });
      const text = content.flatMap((block) => (block.type === 'text' ? [block.text] : [])).join('\n');
      const { stopReason, costUsd } = reply;
      const lowered = maxOutputTokens < request.plan.maxOutputTokens;
      const data = {
        step,
        operationId,
        stopReason,
        costUsd,
        usage: cost.usage,
        text,
        ...(lowered
          ? {
              // Less money was left than asked for: the answer was kept short to fit it.
              maxOutputTokens,
              plannedOutputTokens: request.plan.maxOutputTokens,
              grantedUsd: formatUsd(claim.grantedUsd),
            }
          : {}),
      };
      await appendRunEvent(client, runId, { key: `reply-${operationId}`, type: 'model.replied', data });
    },
  );
  await paidStep.atPoint('llm.outcome-written');
  return reply;
}

/** The stream gave no final usage: surely not billed, or unknown. */
async function giveUp(
  { paidStep, log }: LlmDependencies,
  { claim, streamed }: { claim: Claim; streamed: StreamedMessage },
): Promise<never> {
  const { outputBegan, error } = streamed;
  const failed = callFailure(error, { outputBegan });
  const { tenantId, operationId } = claim;
  log.warn({ tenantId, operationId, billed: failed.billed, code: failed.code }, 'a model call failed');
  if (failed.billed === 'no') {
    await paidStep.settle(claim, { billed: false, reason: failed.code });
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
