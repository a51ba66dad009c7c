/** A stand-in for OpenAI's Responses API, its Chat Completions (openai-chat.ts) and Embeddings (openai-embeddings.ts), for tests and for machines without a key: the real wire format, scripted answers. */
import { randomUUID } from 'node:crypto';
import { bearerOf, sendJson } from './http';
import type { ModelKnobs, NamedError } from './knobs';
import { openAiCacheDetails, openAiCacheRule } from './openai-cache';
import { chatAsked } from './openai-chat';
import { embeddingsAsked } from './openai-embeddings';
import {
  pieces,
  startModelStandIn,
  type Asked,
  type ModelStandIn,
  type ModelStandInOptions,
  type WireFormat,
} from './model-stand-in';
import type { Reply } from './reply';
import type { ScriptMessage } from './script-message';
import { reasoningItem, thinkingAtOpenAi } from './thinking';

interface InputItem {
  type?: string;
  role?: string;
  content?: unknown;
  call_id?: string;
  output?: unknown;
}

export interface ResponsesRequest {
  model?: unknown;
  input?: InputItem[] | string;
  instructions?: unknown;
  tools?: unknown;
  prompt_cache_key?: unknown;
  tool_choice?: unknown;
  text?: { format?: { schema?: unknown } | null } | null;
  max_output_tokens?: number | null;
  stream?: boolean;
}

export type OpenAiStandIn = ModelStandIn<ResponsesRequest>;

/** Its address for the SDK ends in `/v1`. */
export async function startOpenAiStandIn(options: ModelStandInOptions = {}): Promise<OpenAiStandIn> {
  const standIn = await startModelStandIn<ResponsesRequest>(format, options);
  return { ...standIn, url: `${standIn.url}/v1` };
}

/** The items as the script reads them. */
const messageOf = ({ type, role = 'user', content, call_id: id, output }: InputItem): ScriptMessage => {
  if (type === 'function_call_output') {
    return { role: 'user', content: [{ type: 'tool_result', content: output, tool_use_id: String(id) }] };
  }
  return { role, content: typeof content === 'string' ? content : JSON.stringify(content ?? '') };
};

const format: WireFormat = {
  name: 'openai',
  namesEvents: true,
  keyOf: bearerOf,
  read(path, body) {
    const {
      model,
      input = [],
      instructions,
      tools,
      prompt_cache_key,
      tool_choice: choice,
      text,
      max_output_tokens: limit,
      stream = false,
    } = body as ResponsesRequest;
    const counts = path === '/v1/responses/input_tokens';
    const isChat = path === '/v1/chat/completions';
    const embeds = path === '/v1/embeddings';
    if (!counts && !isChat && !embeds && path !== '/v1/responses') return { status: 404, message: 'Not found' };
    if (typeof model !== 'string' || !(embeds ? /^text-embedding-/ : /^(gpt-|o\d)/).test(model))
      return { status: 404, message: `The model ${String(model)} does not exist` };
    // Without a limit of its own an answer may be as long as its model makes it.
    const maxTokens = limit ?? 16_384;
    if (embeds) return embeddingsAsked(body as object, model);
    if (isChat) return chatAsked(body as { messages?: unknown }, model);
    const items: InputItem[] = typeof input === 'string' ? [{ role: 'user', content: input }] : input;
    const messages = items.filter(({ type }) => type !== 'function_call' && type !== 'reasoning').map(messageOf);
    const cache = openAiCacheRule(model, { key: prompt_cache_key, blocks: [tools, instructions, ...items] });
    const thinks = thinkingAtOpenAi(model, body as Record<string, unknown>);
    if ('status' in thinks) return thinks;
    const asked = { counts, model, messages, tools, maxTokens, stream, ...thinks, callsNoTools: choice === 'none' };
    // What it is to answer by is a part of the prompt.
    return {
      ...asked,
      prompt: [instructions, tools, input, ...(text?.format?.schema ? [text.format.schema] : [])],
      cache,
    };
  },
  refuse(response, status, message, headers = {}) {
    const type = status === 401 ? 'invalid_request_error' : status === 429 ? 'requests' : 'invalid_request_error';
    sendJson(response, status, { error: { message, type, param: null, code: null } }, headers);
  },
  counted: (response, tokens) => sendJson(response, 200, { object: 'response.input_tokens', input_tokens: tokens }),
  whole: (response, asked, reply, knobs) => sendJson(response, 200, responseOf(asked, reply, knobs)),
  stream,
};

function responseOf({ model }: Asked, reply: Reply, knobs: ModelKnobs): Record<string, unknown> {
  const { text, toolUses, isCut, isRefusal, inputTokens, cached, thoughtTokens, outputTokens } = reply;
  const cutBy = isRefusal ? 'content_filter' : isCut ? 'max_output_tokens' : undefined;
  const message = {
    type: 'message',
    id: `msg_stand_in_${randomUUID()}`,
    role: 'assistant',
    status: 'completed',
    content: [{ type: 'output_text', text, annotations: [] }],
  };
  const calls = toolUses.map(({ id, name, input }) => ({
    type: 'function_call',
    id: `fc_stand_in_${randomUUID()}`,
    call_id: id,
    name,
    arguments: JSON.stringify(input),
    status: 'completed',
  }));
  const thoughts = thoughtTokens > 0 ? [reasoningItem(randomUUID())] : [];
  return {
    id: `resp_stand_in_${randomUUID()}`,
    object: 'response',
    created_at: Math.floor(Date.now() / 1000),
    model,
    status: cutBy ? 'incomplete' : 'completed',
    error: null,
    incomplete_details: cutBy ? { reason: cutBy } : null,
    output: [...(knobs.extra?.items ?? []), ...thoughts, ...(text === '' ? [] : [message]), ...calls],
    service_tier: knobs.extra?.serviceTier ?? 'default',
    usage:
      knobs.usage === null
        ? null
        : usageOf({
            input_tokens: inputTokens,
            input_tokens_details: openAiCacheDetails(model, cached),
            output_tokens: outputTokens,
            output_tokens_details: { reasoning_tokens: thoughtTokens },
            ...knobs.usage,
          }),
  };
}

const usageOf = (counts: Record<string, unknown>): Record<string, unknown> => ({
  total_tokens: Number(counts.input_tokens) + Number(counts.output_tokens),
  ...counts,
});

/** The wait is in the text. */
const errorOf = ({ name, retryAfterSeconds }: NamedError): { code: string; message: string } => ({
  code: name,
  message: `The stand-in was told to fail.${retryAfterSeconds === undefined ? '' : ` Please try again in ${retryAfterSeconds}s.`}`,
});

/** Usage comes with the last event alone. */
async function stream(...[writer, asked, reply, knobs]: Parameters<WireFormat['stream']>): Promise<void> {
  const whole = responseOf(asked, reply, knobs);
  let sequence_number = 0;
  const send = (event: { type: string } & Record<string, unknown>): Promise<void> =>
    writer.send({ ...event, sequence_number: sequence_number++ });
  const begun = { ...whole, status: 'in_progress', output: [], usage: null, incomplete_details: null };
  await send({ type: 'response.created', response: begun });
  await send({ type: 'response.in_progress', response: begun });
  if (writer.isBroken()) return;
  /** Before any output as OpenAI refuses, later as a stream that breaks down. */
  const refused = writer.errorAt('nothing');
  if (refused) {
    const error = errorOf(refused);
    return send({ type: 'response.failed', response: { ...begun, status: 'failed', error } });
  }
  for (const [output_index, item] of (whole.output as Record<string, unknown>[]).entries()) {
    await send({ type: 'response.output_item.added', output_index, item: { ...item, status: 'in_progress' } });
    const item_id = item.id;
    if (item.type === 'message') {
      const part = { type: 'output_text', text: '', annotations: [] };
      await send({ type: 'response.content_part.added', item_id, output_index, content_index: 0, part });
      for (const delta of pieces(reply.text)) {
        await send({
          type: 'response.output_text.delta',
          item_id,
          output_index,
          content_index: 0,
          delta,
          logprobs: [],
        });
      }
      await send({ type: 'response.output_text.done', item_id, output_index, content_index: 0, text: reply.text });
    } else if (item.type === 'function_call') {
      for (const delta of pieces(String(item.arguments))) {
        await send({ type: 'response.function_call_arguments.delta', item_id, output_index, delta });
      }
    }
    const broken = writer.errorAt('output');
    if (broken) return send({ type: 'error', ...errorOf(broken), param: null });
    await send({ type: 'response.output_item.done', output_index, item });
  }
  const failed = writer.failsAs();
  if (failed) {
    const error = errorOf(failed);
    return send({ type: 'response.failed', response: { ...whole, status: 'failed', error } });
  }
  await send({ type: whole.status === 'incomplete' ? 'response.incomplete' : 'response.completed', response: whole });
  await writer.isCutAtEnd();
}
