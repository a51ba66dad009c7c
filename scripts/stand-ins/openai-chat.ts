/** A stand-in for OpenAI's Chat Completions: the real wire format, scripted answers, one for each of the `n` that are asked for. */
import { randomUUID } from 'node:crypto';
import { sendJson } from './http';
import type { ModelKnobs } from './knobs';
import { openAiCacheDetails, openAiCacheRule } from './openai-cache';
import { pieces, type AnswerFormat, type Asked, type StreamWriter } from './model-stand-in';
import type { Reply } from './reply';
import type { ScriptMessage } from './script-message';

interface ChatMessage {
  role: string;
  content?: unknown;
  tool_call_id?: string;
}

export interface ChatRequest {
  messages?: unknown;
  tools?: unknown;
  prompt_cache_key?: unknown;
  max_tokens?: number | null;
  max_completion_tokens?: number | null;
  n?: number | null;
  stream?: boolean | null;
  stream_options?: { include_usage?: boolean } | null;
}

/** What is asked of it, as its provider would refuse it or take it. Without a limit of its own an answer may be as long as its model makes it. */
export function chatAsked(body: ChatRequest, model: string): Asked | { status: number; message: string } {
  const { messages, tools, max_tokens: older, max_completion_tokens: newer, n, stream, stream_options: options } = body;
  const { prompt_cache_key: key } = body;
  if (!Array.isArray(messages) || messages.length === 0) return { status: 400, message: 'messages: at least one' };
  if (older != null && newer != null)
    return { status: 400, message: 'max_tokens and max_completion_tokens are not taken together' };
  return {
    counts: false,
    model,
    messages: (messages as ChatMessage[]).map(messageOf),
    tools,
    maxTokens: newer ?? older ?? 16_384,
    stream: stream === true,
    prompt: [tools, messages],
    cache: openAiCacheRule(model, { key, blocks: [tools, ...(messages as unknown[])] }),
    answered: answers({ n: n ?? 1, includesUsage: options?.include_usage === true }),
  };
}

function messageOf({ role, content, tool_call_id: id }: ChatMessage): ScriptMessage {
  if (role === 'tool') return { role: 'user', content: [{ type: 'tool_result', content, tool_use_id: String(id) }] };
  return { role, content: typeof content === 'string' ? content : JSON.stringify(content ?? '') };
}

const answers = ({ n, includesUsage }: { n: number; includesUsage: boolean }): AnswerFormat => ({
  namesEvents: false,
  whole: (response, asked, reply, knobs) => sendJson(response, 200, completionOf(asked, reply, { n, knobs })),
  stream: (writer, asked, reply, knobs) => stream(writer, { asked, reply, knobs, n, includesUsage }),
});

function headOf({ model }: Asked, { extra }: ModelKnobs): Record<string, unknown> {
  return {
    id: `chatcmpl-stand-in-${randomUUID()}`,
    created: Math.floor(Date.now() / 1000),
    model,
    service_tier: extra?.serviceTier ?? 'default',
    system_fingerprint: 'fp_stand_in',
  };
}

const finishOf = ({ isRefusal, isCut, toolUses }: Reply): string =>
  isRefusal ? 'content_filter' : isCut ? 'length' : toolUses.length > 0 ? 'tool_calls' : 'stop';

const callsOf = ({ toolUses }: Reply): Record<string, unknown>[] =>
  toolUses.map(({ id, name, input }) => ({
    id,
    type: 'function',
    function: { name, arguments: JSON.stringify(input) },
  }));

function usageOf({ model }: Asked, reply: Reply, { n, knobs }: { n: number; knobs: ModelKnobs }): unknown {
  const { inputTokens, cached, outputTokens } = reply;
  const counts = { prompt_tokens: inputTokens, completion_tokens: n * outputTokens, ...knobs.usage };
  return {
    total_tokens: Number(counts.prompt_tokens) + Number(counts.completion_tokens),
    prompt_tokens_details: { ...openAiCacheDetails(model, cached), audio_tokens: 0 },
    completion_tokens_details: {
      ...{ reasoning_tokens: 0, audio_tokens: 0, accepted_prediction_tokens: 0, rejected_prediction_tokens: 0 },
    },
    ...counts,
  };
}

function completionOf(asked: Asked, reply: Reply, { n, knobs }: { n: number; knobs: ModelKnobs }): object {
  const calls = callsOf(reply);
  const choice = {
    message: {
      role: 'assistant',
      content: reply.text === '' ? null : reply.text,
      refusal: null,
      annotations: [],
      ...(calls.length === 0 ? {} : { tool_calls: calls }),
    },
    logprobs: null,
    finish_reason: finishOf(reply),
  };
  return {
    object: 'chat.completion',
    ...headOf(asked, knobs),
    choices: Array.from({ length: n }, (_, index) => ({ index, ...choice })),
    ...(knobs.usage === null ? {} : { usage: usageOf(asked, reply, { n, knobs }) }),
  };
}

interface Streamed {
  asked: Asked;
  reply: Reply;
  knobs: ModelKnobs;
  n: number;
  includesUsage: boolean;
}

/** Usage comes in a last piece without choices, and only where it was asked for. */
async function stream(writer: StreamWriter, { asked, reply, knobs, n, includesUsage }: Streamed): Promise<void> {
  const head = { object: 'chat.completion.chunk', ...headOf(asked, knobs) };
  const send = (choices: object[], usage: unknown = null): Promise<void> =>
    writer.send({ ...head, choices, ...(includesUsage ? { usage } : {}) });
  const fail = (name: string): Promise<void> =>
    writer.send({
      error: { message: 'The stand-in was told to fail.', type: 'server_error', param: null, code: name },
    });
  const refused = writer.errorAt('nothing');
  if (refused) return fail(refused.name);
  for (let index = 0; index < n; index += 1) {
    const say = (delta: object, finish: string | null = null): Promise<void> =>
      send([{ index, delta, logprobs: null, finish_reason: finish }]);
    await say({ role: 'assistant', content: '', refusal: null });
    if (writer.isBroken()) return;
    for (const content of pieces(reply.text)) await say({ content });
    for (const [at, { function: called, ...call }] of callsOf(reply).entries()) {
      const { name, arguments: text } = called as { name: string; arguments: string };
      await say({ tool_calls: [{ index: at, ...call, function: { name, arguments: '' } }] });
      for (const piece of pieces(text)) await say({ tool_calls: [{ index: at, function: { arguments: piece } }] });
    }
    const broken = writer.errorAt('output') ?? writer.failsAs();
    if (broken) return fail(broken.name);
    await say({}, finishOf(reply));
  }
  if (includesUsage && knobs.usage !== null) await send([], usageOf(asked, reply, { n, knobs }));
  if (await writer.isCutAtEnd()) return;
  writer.sendText('[DONE]');
}
