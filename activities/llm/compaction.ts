/**
 * Compaction: a context that has grown beyond its limit loses the length of its old tool results first, which is free; when
 * that is not enough, a model call of its own sums the older messages up. What is summed up stays in the transcript.
 */
import { compactionLimit, lastSummarised } from '../../core/agent/compaction';
import { contextWindowTokens } from '../../core/agent/context-windows';
import { storableText } from '../../core/storable';
import { asTenant } from '../../store/pool';
import { appendRunEvent, type Run } from '../../store/runs';
import { writeCompaction } from '../../store/transcripts';
import type { CompactContext, ModelCallPlan, PrepareCompaction } from '../../contracts/llm';
import { makePaidCall, type LlmDependencies } from './paid-call';
import { planCall } from './plan-call';
import { isLong, readContext, textBlock, type Context } from './prompt';
import type { Block, Prompt } from './model-provider';

/** A summary may be as long as a part of what it sums up, within these bounds: a cap that it hits makes it worthless. */
const summaryShare = 8;
const summaryTokensMin = 2_048;
const summaryTokensMax = 8_192;
/** What a token is in characters, roughly, and rather too few. */
const charsPerToken = 3;

const instructions =
  'You sum up the earlier part of a conversation between a user and an assistant, so that the assistant can go on with the ' +
  'summary in its place. Keep what was asked and decided, names, figures, file paths, what was tried and failed, and what is ' +
  'still open. Leave out greetings and what was superseded. Write plain sentences, nothing else.';

/** A run's context is compacted when it has more tokens than this. */
export const compactionLimitOf = ({ options }: Run, model: string): number =>
  compactionLimit(options.compaction ?? {}, contextWindowTokens(model));

/**
 * What there is to do before a call of this size: nothing; `shortened` when tool results were shortened just now, so that
 * the prompt is to be counted anew; or a summary up to a message.
 */
export async function findCompaction(
  { pool }: LlmDependencies,
  { context, plan }: { context: Context; plan: ModelCallPlan },
): Promise<'shortened' | { throughSequence: number } | undefined> {
  const { run, messages, shortenedThrough } = context;
  const limit = compactionLimitOf(run, plan.model);
  if (plan.inputTokens <= limit) return undefined;
  const cuttable = messages.map(({ sequence, content }) => ({
    sequence,
    chars: JSON.stringify(content).length,
    callsTools: (content as Block[]).some((block) => block.type === 'tool_use'),
  }));
  const throughSequence = lastSummarised(cuttable, limit);
  if (throughSequence === undefined) return undefined;
  const canShorten = messages.some(
    ({ sequence, content }) =>
      sequence > shortenedThrough && sequence <= throughSequence && (content as Block[]).some(isLong),
  );
  if (!canShorten) return { throughSequence };
  const { tenantId, runId } = run;
  await asTenant(pool, tenantId, async (client) => {
    await writeCompaction(client, { tenantId, runId, throughSequence });
    await appendRunEvent(client, runId, {
      key: `shortened-${throughSequence}`,
      type: 'context.shortened',
      data: { throughSequence },
    });
  });
  return 'shortened';
}

/** The prompt that asks for a summary of what came up to a message, an earlier summary included. */
function summaryPrompt({ summary, messages, run }: Context, throughSequence: number): Prompt {
  const told = messages
    .filter(({ sequence }) => sequence <= throughSequence)
    .map(
      ({ role, content }) =>
        `${role === 'user' ? 'User' : 'Assistant'}: ${(content as Block[]).map(asText).join('\n')}`,
    );
  const before = [
    ...(run.type === 'task' ? [`The task: ${run.task}`] : []),
    ...(summary ? [`A summary of what came before: ${summary.text}`] : []),
  ];
  const text = [...before, ...told, 'Sum this up.'].join('\n\n');
  return { system: instructions, tools: [], messages: [{ role: 'user', content: [textBlock(text)] }] };
}

/** A block as the one who sums up reads it. */
function asText(block: Block): string {
  switch (block.type) {
    case 'text':
      return block.text;
    case 'tool_use':
      return `[calls ${block.name}: ${storableText(JSON.stringify(block.input).slice(0, 2_000))}]`;
    case 'tool_result':
      return `[result: ${storableText(block.content.slice(0, 2_000))}]`;
    case 'file':
    case 'opaque':
      return '';
  }
}

export async function prepareCompaction(
  dependencies: LlmDependencies,
  request: PrepareCompaction,
): Promise<ModelCallPlan> {
  const { model, throughSequence, inputTokens } = request;
  const prompt = summaryPrompt(await readContext(dependencies.pool, request), throughSequence);
  const chars = prompt.messages.flatMap(({ content }) => content).reduce((sum, block) => sum + asText(block).length, 0);
  const fitting = Math.ceil(chars / charsPerToken / summaryShare);
  const maxOutputTokens = Math.min(summaryTokensMax, Math.max(summaryTokensMin, fitting));
  // Nothing goes on from what asks for a summary.
  return planCall(dependencies, { model, maxOutputTokens, prompt: inputTokens ?? prompt, caching: 'off' });
}

/** The paid call; answers whether there is a summary now. */
export async function compactContext(
  dependencies: LlmDependencies,
  request: CompactContext,
): Promise<{ costUsd: string }> {
  const { tenantId, runId, operationId, throughSequence, plan } = request;
  const prompt = summaryPrompt(await readContext(dependencies.pool, request), throughSequence);
  const { costUsd } = await makePaidCall(dependencies, {
    ...request,
    kind: 'compaction',
    prompt,
    keep: async (client, { content, usage, result }) => {
      const summary = content.flatMap((block) => (block.type === 'text' ? [block.text] : [])).join('\n');
      // One that hit its cap is a stump: it is paid, told of, and stands for nothing.
      const usable = summary.trim() !== '' && result.stopReason === 'end_turn';
      if (usable) await writeCompaction(client, { tenantId, runId, operationId, throughSequence, summary });
      const { stopReason } = result;
      const data = { operationId, throughSequence, model: plan.model, stopReason, usage, costUsd: result.costUsd };
      await appendRunEvent(client, runId, {
        key: `compacted-${operationId}`,
        type: usable ? 'context.compacted' : 'context.compaction-failed',
        data,
      });
    },
  });
  return { costUsd };
}
