/** A stand-in for the Anthropic HTTP API, for machines without a key and for tests: the real wire format, scripted answers. */
import { randomUUID } from 'node:crypto';
import { cacheRuleOf, textOf, unmarked } from './anthropic-cache';
import { bearerOf, sendJson } from './http';
import type { ModelKnobs } from './knobs';
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
import { thinkingAtAnthropic, thoughtOf } from './thinking';

export interface MessagesRequest {
  model?: unknown;
  messages?: ScriptMessage[];
  max_tokens?: number;
  stream?: boolean;
  system?: unknown;
  tools?: unknown;
  tool_choice?: { type?: unknown };
  output_config?: { format?: { schema?: unknown } | null } | null;
}

export type AnthropicStandIn = ModelStandIn<MessagesRequest>;

export const startAnthropicStandIn = (options: ModelStandInOptions = {}): Promise<AnthropicStandIn> =>
  startModelStandIn<MessagesRequest>(format, options);

const errorTypes: Record<number, string> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  529: 'overloaded_error',
};

const format: WireFormat = {
  name: 'anthropic',
  namesEvents: true,
  // The SDK sends the key as a bearer token; other clients use x-api-key.
  keyOf: (request) => request.headers['x-api-key']?.toString() ?? bearerOf(request),
  read(path, body) {
    const {
      model,
      messages,
      max_tokens: maxTokens = 0,
      stream = false,
      system,
      tools,
      tool_choice: choice,
      output_config: config,
    } = body as MessagesRequest;
    const counts = path === '/v1/messages/count_tokens';
    if (!counts && path !== '/v1/messages') return { status: 404, message: 'Not found' };
    if (typeof model !== 'string' || !model.startsWith('claude-'))
      return { status: 404, message: `model: ${String(model)}` };
    if (!Array.isArray(messages) || messages.length === 0)
      return { status: 400, message: 'messages: at least one message is required' };
    const cache = cacheRuleOf(model, { system, tools, choice, messages });
    if ('status' in cache) return cache;
    const thinks = thinkingAtAnthropic(model, body as Record<string, unknown>, maxTokens);
    if ('status' in thinks) return thinks;
    return {
      counts,
      model,
      messages,
      tools,
      maxTokens,
      stream,
      ...thinks,
      callsNoTools: choice?.type === 'none',
      // What it is to answer by is a part of the prompt.
      prompt: [textOf(system), unmarked(tools), unmarked(messages), ...(config?.format ? [config.format.schema] : [])],
      cache,
    };
  },
  refuse(response, status, message, headers = {}) {
    const error = { type: errorTypes[status] ?? 'api_error', message };
    sendJson(response, status, { type: 'error', error, request_id: `req_stand_in_${randomUUID()}` }, headers);
  },
  counted: (response, tokens) => sendJson(response, 200, { input_tokens: tokens }),
  whole: (response, asked, reply, knobs) => sendJson(response, 200, messageOf(asked, reply, knobs)),
  stream,
};

interface Message {
  id: string;
  type: 'message';
  role: 'assistant';
  model: string;
  content: (
    | { type: 'thinking'; thinking: string; signature: string }
    | { type: 'text'; text: string }
    | { type: 'tool_use'; id: string; name: string; input: Record<string, unknown> }
  )[];
  stop_reason: string;
  stop_sequence: string | null;
  stop_details?: Record<string, unknown>;
  usage: Record<string, unknown>;
}

function messageOf(
  { model }: Asked,
  { text, toolUses, isCut, isRefusal, stoppedAt, thoughtTokens, inputTokens, cached, outputTokens }: Reply,
  knobs: ModelKnobs,
): Message {
  return {
    id: `msg_stand_in_${randomUUID()}`,
    type: 'message',
    role: 'assistant',
    model,
    content: [
      ...(thoughtTokens > 0 ? [{ type: 'thinking' as const, ...thoughtOf(thoughtTokens) }] : []),
      ...(text === '' ? [] : [{ type: 'text' as const, text }]),
      ...toolUses.map((use) => ({ type: 'tool_use' as const, ...use })),
    ],
    stop_reason: stopReasonOf({ isRefusal, isCut, stoppedAt, toolUses }),
    stop_sequence: stoppedAt ?? null,
    ...(isRefusal ? { stop_details: { type: 'refusal', category: 'cyber', explanation: null } } : {}),
    usage: {
      input_tokens: inputTokens - cached.read - cached.written5m - cached.written1h,
      output_tokens: outputTokens,
      cache_creation_input_tokens: cached.written5m + cached.written1h,
      cache_read_input_tokens: cached.read,
      cache_creation: {
        ephemeral_5m_input_tokens: cached.written5m,
        ephemeral_1h_input_tokens: cached.written1h,
      },
      ...(thoughtTokens > 0 ? { output_tokens_details: { thinking_tokens: thoughtTokens } } : {}),
      service_tier: 'standard',
      ...knobs.usage,
    },
  };
}

const stopReasonOf = ({
  isRefusal,
  isCut,
  stoppedAt,
  toolUses,
}: Pick<Reply, 'isRefusal' | 'isCut' | 'toolUses'> & { stoppedAt: string | undefined }): string => {
  if (isRefusal) return 'refusal';
  if (stoppedAt !== undefined) return 'stop_sequence';
  return isCut ? 'max_tokens' : toolUses.length > 0 ? 'tool_use' : 'end_turn';
};

/** A thought is streamed in words, and its signature after them. */
async function streamThought(
  { send }: Parameters<WireFormat['stream']>[0],
  index: number,
  { thinking, signature }: { thinking: string; signature: string },
): Promise<void> {
  const content_block = { type: 'thinking', thinking: '', signature: '' };
  await send({ type: 'content_block_start', index, content_block });
  await send({ type: 'content_block_delta', index, delta: { type: 'thinking_delta', thinking } });
  await send({ type: 'content_block_delta', index, delta: { type: 'signature_delta', signature } });
  await send({ type: 'content_block_stop', index });
}

/** Usage is cumulative: the last event holds all of it. */
async function stream(...[writer, asked, reply, knobs]: Parameters<WireFormat['stream']>): Promise<void> {
  const { send, isBroken, isCutAtEnd, errorAt, hasSecond } = writer;
  const failing = async (after: 'nothing' | 'output'): Promise<boolean> => {
    const error = errorAt(after);
    if (error) await send({ type: 'error', error: { type: error.name, message: 'The stand-in was told to fail' } });
    return error !== undefined;
  };
  if (await failing('nothing')) return;
  const message = messageOf(asked, reply, knobs);
  const { output_tokens: outputTokens, ...inputUsage } = message.usage;
  const usage = { ...inputUsage, output_tokens: Math.min(1, Number(outputTokens)), ...knobs.usageAtStart };
  const began = { ...message, content: [], stop_reason: null, stop_details: undefined };
  const start = {
    type: 'message_start',
    message: { ...began, usage: knobs.usageAtStart === null ? undefined : usage },
  };
  await send(start);
  await send({ type: 'ping' });
  if (isBroken()) return;
  for (const [index, block] of message.content.entries()) {
    if (block.type === 'thinking') {
      await streamThought(writer, index, block);
      continue;
    }
    const isText = block.type === 'text';
    const content_block = isText ? { type: 'text', text: '' } : { ...block, input: {} };
    await send({ type: 'content_block_start', index, content_block });
    for (const piece of pieces(isText ? block.text : JSON.stringify(block.input))) {
      const delta = isText ? { type: 'text_delta', text: piece } : { type: 'input_json_delta', partial_json: piece };
      await send({ type: 'content_block_delta', index, delta });
    }
    if (await failing('output')) return;
    await send({ type: 'content_block_stop', index });
  }
  const { stop_reason, stop_sequence, stop_details } = message;
  const delta = { stop_reason, stop_sequence, stop_details };
  await send({ type: 'message_delta', delta, usage: knobs.usage === null ? undefined : message.usage });
  if (hasSecond()) return send(start);
  if (await isCutAtEnd()) return;
  await send({ type: 'message_stop' });
}
