/** The model activities: plan a call (free), make it (paid), keep what came. */
import { formatUsd } from '../../core/money';
import { appendRunEvent, type RunKey } from '../../store/runs';
import { dropDeltas } from '../../store/reply-deltas';
import { replySequence, writeTranscriptMessage } from '../../store/transcripts';
import type { CallModel, LlmActivities, ModelCallPlan, ModelReply, PrepareModelCall } from '../contracts/llm';
import { withHeartbeats } from '../heartbeat';
import { compactContext, findCompaction, prepareCompaction } from './compaction';
import { makePaidCall, planCall, type LlmDependencies, type PaidReply } from './paid-call';
import { promptOf, readContext } from './prompt';

export type { LlmDependencies } from './paid-call';

export function createLlmActivities(dependencies: LlmDependencies): LlmActivities {
  return {
    prepareModelCall: (request) => prepareModelCall(dependencies, request),
    callModel: (request) => withHeartbeats(() => callModel(dependencies, request)),
    prepareCompaction: (request) => prepareCompaction(dependencies, request),
    compactContext: (request) => withHeartbeats(() => compactContext(dependencies, request)),
  };
}

async function prepareModelCall(dependencies: LlmDependencies, request: PrepareModelCall): Promise<ModelCallPlan> {
  const { pool, codeLanguages } = dependencies;
  const { model, maxOutputTokens, compact = false } = request;
  const planFor = async (): Promise<ModelCallPlan> => {
    const context = await readContext(pool, request);
    const plan = await planCall(dependencies, { model, maxOutputTokens, prompt: promptOf(context, codeLanguages) });
    const compaction = compact ? await findCompaction(dependencies, { context, plan }) : undefined;
    if (compaction === 'shortened') return planFor();
    return { ...plan, ...(compaction ? { compaction } : {}) };
  };
  return planFor();
}

async function callModel(dependencies: LlmDependencies, request: CallModel): Promise<ModelReply> {
  const { paidStep, pool, feed, codeLanguages } = dependencies;
  await paidStep.atPoint('llm.before-claim');
  // Everything that can fail for free comes before the claim.
  const prompt = promptOf(await readContext(pool, request), codeLanguages);
  const { tenantId, runId, operationId } = request;
  return makePaidCall(dependencies, {
    ...request,
    kind: 'llm.call',
    prompt,
    onText: (text) => feed.text({ tenantId, runId, operationId }, text),
    keep: (client, reply) => keep(client, { request, reply }),
  }).finally(() => feed.ended({ tenantId, runId, operationId }));
}

/** Writes the message and the event that tells of it. */
async function keep(
  client: Parameters<typeof appendRunEvent>[0],
  { request, reply }: { request: CallModel & RunKey; reply: PaidReply },
): Promise<void> {
  const { tenantId, runId, operationId, step, plan } = request;
  const { content, maxOutputTokens, grantedUsd, usage, result } = reply;
  const message = { sequence: replySequence(step), role: 'assistant' as const, content };
  await writeTranscriptMessage(client, { tenantId, runId, operationId, ...message });
  await dropDeltas(client, runId);
  const text = content.flatMap((block) => (block.type === 'text' ? [block.text] : [])).join('\n');
  const lowered = maxOutputTokens < plan.maxOutputTokens;
  const data = {
    step,
    operationId,
    model: plan.model,
    stopReason: result.stopReason,
    costUsd: result.costUsd,
    usage,
    text,
    ...(result.toolCalls.length === 0 ? {} : { tools: result.toolCalls.map(({ name }) => name) }),
    // Less money was left than asked for: the answer was kept short to fit it.
    ...(lowered
      ? { maxOutputTokens, plannedOutputTokens: plan.maxOutputTokens, grantedUsd: formatUsd(grantedUsd) }
      : {}),
  };
  await appendRunEvent(client, runId, { key: `reply-${operationId}`, type: 'model.replied', data });
}
