/** The model activities: plan a call (free), make it (paid), keep what came. */
import { Context as ActivityContext } from '@temporalio/activity';
import { formatUsd, parseAmountUsd, type Usd } from '../../core/money';
import { usageOf } from '../../core/prices/usage';
import type { Pool } from '../../store/pool';
import { endWaitsBefore } from '../../store/money-waiters';
import { appendRunEvent, type Run, type RunKey } from '../../store/runs';
import { dropDeltas } from '../../store/reply-deltas';
import {
  readLastResult,
  readStep,
  toolResultSequence,
  writeReply,
  writeTranscriptMessage,
  type KeptReply,
  type StepRecord,
} from '../../store/transcripts';
import type {
  BoughtReply,
  CallModel,
  LlmActivities,
  ModelCallPlan,
  ModelReply,
  PrepareModelCall,
} from '../../contracts/llm';
import { failure } from '../failures';
import { withHeartbeats } from '../heartbeat';
import { compactContext, compactionLimitOf, findCompaction, prepareCompaction } from './compaction';
import type { Block } from './model-provider';
import { makePaidCall, toolCallsIn, type LlmDependencies, type PaidReply } from './paid-call';
import { planCall, roomOf, type Bound } from './plan-call';
import { answerSchemaOf, cachingOf } from './instructions';
import { tellMoney } from './known-money';
import { misfitsOf, wordsIn, type Misfits } from './answers';
import { promptOf, readContext, runOf, textBlock, type Context } from './prompt';
import type { CountedPrompt } from './prompt-bound';

export type { LlmDependencies } from './paid-call';

/** So often is a provider asked to count, within some ten seconds; then a bound has to do, or another model. */
const countTriesMax = 5;

export function createLlmActivities(dependencies: LlmDependencies): LlmActivities {
  return {
    // Only a plan that may not ask a provider can come to nothing.
    prepareModelCall: async (request) =>
      (await prepareModelCall(dependencies, request, {
        mayCount: true,
        countsAgain: ActivityContext.current().info.attempt < countTriesMax,
      })) as ModelCallPlan,
    prepareQuickly: async (request) => (await prepareModelCall(dependencies, request, { mayCount: false })) ?? null,
    callModel: (request) => withHeartbeats(() => callModel(dependencies, request)),
    prepareCompaction: (request) => prepareCompaction(dependencies, request),
    compactContext: (request) => withHeartbeats(() => compactContext(dependencies, request)),
  };
}

/** Undefined where a provider would have to be asked and must not be. */
async function prepareModelCall(
  dependencies: LlmDependencies,
  request: PrepareModelCall,
  { mayCount, countsAgain }: { mayCount: boolean; countsAgain?: boolean },
): Promise<ModelCallPlan | undefined> {
  const { pool, codeLanguages } = dependencies;
  const { tenantId, runId, step, model, maxOutputTokens, inputTokens, compact = false, count = false } = request;
  const { knows, isLast = false, growsBy } = request;
  const known = step === undefined ? undefined : await stepOnRecord(pool, { tenantId, runId, step });
  if (known) {
    const nothing = { priceVersion: '', inputTokens: 0, maxOutputTokens, amountUsd: '0', minimumUsd: '0' };
    return { model, ...nothing, bought: known };
  }
  const planFor = async (): Promise<ModelCallPlan | undefined> => {
    if (inputTokens !== undefined) {
      const [run, room] = await Promise.all([runOf(pool, request), leftFor(pool, request)]);
      const caching = cachingOf(run);
      return planCall(dependencies, { model, maxOutputTokens, prompt: inputTokens, caching, roomUsd: tighterOf(room) });
    }
    const [context, bound] = await Promise.all([readContext(pool, request), boundOf(pool, request)]);
    const told =
      knows && step !== undefined && (await tellMoney(pool, request, { knows, isLast, ...whereIn(context) }));
    if (told) context.notes = [...context.notes, told];
    const tokensMax = compact ? compactionLimitOf(context.run, model) : undefined;
    const prompt = promptOf(context, codeLanguages, { isLast });
    const plan = await planCall(dependencies, {
      model,
      maxOutputTokens,
      prompt,
      // Nothing goes on from a last call.
      caching: isLast ? 'off' : cachingOf(context.run),
      roomUsd: tighterOf(bound),
      bound: count ? undefined : { ...bound, tokensMax },
      knows: isLast ? undefined : knows,
      mayCount,
      countsAgain,
    });
    if (!plan) return undefined;
    if (growsBy !== undefined) {
      const prompt = plan.inputTokens + growsBy;
      return planCall(dependencies, { model, maxOutputTokens, prompt, caching: 'off' });
    }
    const compaction = compact ? await findCompaction(dependencies, { context, plan }) : undefined;
    if (compaction === 'shortened') return planFor();
    return { ...plan, ...(compaction ? { compaction } : {}), ...(isLast ? { isLast } : {}) };
  };
  return planFor();
}

/** After which message something is said now, and what was said before. */
const whereIn = ({ messages, notes }: Context): { afterSequence: number; notes: Context['notes'] } => ({
  afterSequence: messages.at(-1)?.sequence ?? 0,
  notes,
});

/** What a bound of a call's prompt starts from, and has to stay within. */
async function boundOf(pool: Pool, request: PrepareModelCall): Promise<Bound> {
  const [last, left] = await Promise.all([readLastResult(pool, request), leftFor(pool, request)]);
  const { prompt: base } = (last ?? {}) as CountedPrompt;
  return { base, ...left };
}

/** What is left of the quotas and of the run's own limit. */
async function leftFor(pool: Pool, request: PrepareModelCall): Promise<Pick<Bound, 'quotaUsd' | 'leftUsd'>> {
  const { leftUsd } = request;
  return {
    quotaUsd: await roomOf(pool, request),
    leftUsd: leftUsd === undefined ? undefined : parseAmountUsd(leftUsd),
  };
}

/** What is left for a call, of the tightest quota and of the run's own limit. */
const tighterOf = ({ quotaUsd, leftUsd }: Pick<Bound, 'quotaUsd' | 'leftUsd'>): Usd | undefined =>
  quotaUsd !== undefined && leftUsd !== undefined && leftUsd < quotaUsd ? leftUsd : (quotaUsd ?? leftUsd);

/** The reply of a step that is there already. @throws ApplicationFailure `superseded` when the run has gone on without one. */
async function stepOnRecord(pool: Pool, key: RunKey & { step: number }): Promise<BoughtReply | undefined> {
  const { reply, toolsAnswered, isPast } = await readStep(pool, key);
  if (isPast) throw gone(key.step, 'No call was made.');
  if (!reply) return undefined;
  const { operationId } = reply;
  return { reply: modelReplyOf(reply), toolsAnswered, ...(operationId === undefined ? {} : { operationId }) };
}

const gone = (step: number, what: string): Error =>
  failure('superseded', `The run went on without a reply of step ${step}. ${what}`, { settled: true, retry: false });

/** What was answered to the workflow; where that is not on record, what the content says of it. */
function modelReplyOf({ result, content }: NonNullable<StepRecord['reply']>): ModelReply {
  if (result) {
    const { prompt: _, ...reply } = result as ModelReply & CountedPrompt;
    return reply;
  }
  const toolCalls = toolCallsIn(content as Block[]);
  return { stopReason: toolCalls.length > 0 ? 'tool_use' : 'end_turn', toolCalls, usage: usageOf(), costUsd: '0' };
}

async function callModel(dependencies: LlmDependencies, request: CallModel): Promise<ModelReply> {
  const { paidCalls, pool, feed, codeLanguages } = dependencies;
  await paidCalls.atPoint('llm.before-claim');
  // An earlier attempt's reply may have come after all: it is not bought a second time.
  const bought = await stepOnRecord(pool, request).catch((error: unknown) => {
    paidCalls.giveBack(request);
    throw error;
  });
  if (bought?.operationId === request.operationId) return bought.reply;
  if (bought) {
    paidCalls.giveBack(request);
    return { ...bought.reply, costUsd: '0' };
  }
  // Everything that can fail for free comes before the claim.
  const context = await readContext(pool, request);
  if (context.run.waiting) await endWaitsBefore(pool, { ...request, workflowId: context.run.workflowId });
  const prompt = promptOf(context, codeLanguages, { isLast: request.plan.isLast });
  let misfits: Misfits | undefined;
  const { tenantId, runId, operationId } = request;
  let kept: KeptReply = { kept: true };
  const reply = await makePaidCall(dependencies, {
    ...request,
    kind: 'llm.call',
    prompt,
    onText: (text) => feed.text({ tenantId, runId, operationId }, text),
    judge: (content, reply) => {
      if (mayJudge(request, context.run)) misfits = misfitsOf(context.run, content, reply);
      return misfits ? { misfit: request.mayRepair ? 'told' : 'again' } : {};
    },
    keep: async (client, made) => void (kept = await keep(client, { request, reply: made, misfits })),
  }).finally(() => feed.ended(operationId));
  return kept.kept ? reply : replyInstead(dependencies, request, reply);
}

/**
 * Another attempt's reply was there first, and the run goes on with that one; what this one cost is on record.
 * @throws ApplicationFailure `superseded` when the run has gone on without a reply of this step.
 */
async function replyInstead(
  { paidCalls, pool, log }: LlmDependencies,
  request: CallModel,
  { costUsd }: ModelReply,
): Promise<ModelReply> {
  const { tenantId, runId, operationId, step } = request;
  log.warn({ tenantId, runId, operationId, costUsd }, 'a reply came second: another one of its step is used');
  const { reply } = await paidCalls.patiently('the reply of a step', () => readStep(pool, request));
  if (reply) return { ...modelReplyOf(reply), costUsd };
  throw gone(step, `Its reply is not used; it cost $${costUsd}, which is on record.`);
}

/** A workflow of the version before, and a last call, say nothing of repairs: those hear of answers by a schema alone. */
const mayJudge = ({ mayRepair }: CallModel, run: Run): boolean =>
  mayRepair !== undefined || answerSchemaOf(run) !== undefined;

/** Writes the message and the event that tells of it. */
async function keep(
  client: Parameters<typeof appendRunEvent>[0],
  { request, reply, misfits }: { request: CallModel & RunKey; reply: PaidReply; misfits: Misfits | undefined },
): Promise<KeptReply> {
  const { tenantId, runId, operationId, step, plan } = request;
  const { content, maxOutputTokens, grantedUsd, usage, result, unpriced } = reply;
  const kept = await writeReply(client, { tenantId, runId, operationId, step, content });
  if (kept.kept) await dropDeltas(client, runId);
  if (kept.kept && misfits && result.misfit === 'told')
    await writeTranscriptMessage(client, {
      ...{ tenantId, runId, sequence: toolResultSequence(step), role: 'user' },
      content: [textBlock(misfits.words)],
    });
  const lowered = maxOutputTokens < plan.maxOutputTokens;
  const data = {
    step,
    operationId,
    model: plan.model,
    stopReason: result.stopReason,
    costUsd: result.costUsd,
    usage,
    text: wordsIn(content),
    ...(misfits ? { misfits: misfits.what } : {}),
    ...(unpriced === undefined ? {} : { unpriced }),
    ...(kept.kept ? {} : { usedInstead: kept.usedInstead ?? null }),
    ...(result.toolCalls.length === 0 ? {} : { tools: result.toolCalls.map(({ name }) => name) }),
    // Less money was left than asked for: the answer was kept short to fit it.
    ...(lowered
      ? { maxOutputTokens, plannedOutputTokens: plan.maxOutputTokens, grantedUsd: formatUsd(grantedUsd) }
      : {}),
  };
  const type = kept.kept ? 'model.replied' : 'model.superseded';
  await appendRunEvent(client, runId, { key: `reply-${operationId}`, type, data });
  return kept;
}
