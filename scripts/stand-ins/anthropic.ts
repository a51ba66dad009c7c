/**
 * A stand-in for the Anthropic HTTP API, for machines without a key and for tests: the wire format is the real one and the
 * real SDK talks to it; what it answers is scripted (see anthropic-script.ts). Token counts are about four characters each.
 */
import { createHash, randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { scriptedReply, type ScriptedReply } from './anthropic-script';
import { readBody, sendJson, serve, type StandInServer } from './http';
import { anthropicKnobs, type AnthropicKnobs, type Fault } from './knobs';

/** What was asked of it. Counting tokens is free and counted apart. */
export interface AnthropicCalls {
  /** Message calls that were accepted and began to answer: what a provider would bill. */
  billable: number;
  /** Message calls that were refused before any output. */
  refused: number;
  countTokens: number;
  /** Streams that the client ended before they were over. */
  aborted: number;
  inFlight: number;
}

export interface AnthropicStandIn extends StandInServer {
  calls(): AnthropicCalls;
  knobs: AnthropicKnobs;
  /** The last message call that was accepted. */
  lastRequest(): MessagesRequest;
  /** SHA-256 of every program that it has written, for a sandbox stand-in that runs no other. */
  emittedCode: Set<string>;
}

export interface MessagesRequest {
  model?: unknown;
  messages?: { role: string; content: string | { type: string }[] }[];
  max_tokens?: number;
  stream?: boolean;
  system?: unknown;
  tools?: unknown;
}

export const codeHash = (code: string): string => createHash('sha256').update(code).digest('hex');
const tokensIn = (value: unknown): number => Math.max(1, Math.ceil(JSON.stringify(value ?? '').length / 4));

export async function startAnthropicStandIn(
  options: { port?: number; knobs?: Partial<AnthropicKnobs> } = {},
): Promise<AnthropicStandIn> {
  const knobs: AnthropicKnobs = { ...anthropicKnobs(), ...options.knobs };
  const calls: AnthropicCalls = { billable: 0, refused: 0, countTokens: 0, aborted: 0, inFlight: 0 };
  const emittedCode = new Set<string>();
  const standIn: StandInState = { knobs, calls, emittedCode, lastRequest: {} };
  const server = await serve((request, response, url) => handle(standIn, request, response, url), {
    name: 'anthropic',
    ...(options.port === undefined ? {} : { port: options.port }),
  });
  return { ...server, knobs, emittedCode, calls: () => ({ ...calls }), lastRequest: () => standIn.lastRequest };
}

interface StandInState {
  knobs: AnthropicKnobs;
  calls: AnthropicCalls;
  emittedCode: Set<string>;
  lastRequest: MessagesRequest;
}

async function handle(
  state: StandInState,
  request: IncomingMessage,
  response: ServerResponse,
  url: URL,
): Promise<void> {
  const { pathname } = url;
  if (pathname === '/__stand-in/calls') return sendJson(response, 200, state.calls);
  if (pathname === '/__stand-in/knobs' && request.method === 'PUT') {
    Object.assign(state.knobs, JSON.parse((await readBody(request)).toString()));
    return sendJson(response, 200, state.knobs);
  }
  const body = await readBody(request);
  response.setHeader('request-id', `req_stand_in_${randomUUID()}`);
  // The SDK sends the key as a bearer token; other clients use x-api-key.
  if (!request.headers['x-api-key'] && !request.headers.authorization) {
    return refuse(response, 401, 'authentication_error', 'An API key is required');
  }
  if (request.method !== 'POST' || !['/v1/messages', '/v1/messages/count_tokens'].includes(pathname)) {
    return refuse(response, 404, 'not_found_error', 'Not found');
  }
  let asked: MessagesRequest;
  try {
    asked = JSON.parse(body.toString()) as MessagesRequest;
  } catch {
    return refuse(response, 400, 'invalid_request_error', 'The body is not JSON');
  }
  if (typeof asked.model !== 'string' || !asked.model.startsWith('claude-')) {
    return refuse(response, 404, 'not_found_error', `model: ${String(asked.model)}`);
  }
  if (!Array.isArray(asked.messages) || asked.messages.length === 0) {
    return refuse(response, 400, 'invalid_request_error', 'messages: at least one message is required');
  }
  const inputTokens = tokensIn([asked.system, asked.tools, asked.messages]);
  if (pathname.endsWith('count_tokens')) {
    state.calls.countTokens += 1;
    return sendJson(response, 200, { input_tokens: inputTokens });
  }
  if (!(Number(asked.max_tokens) > 0))
    return refuse(response, 400, 'invalid_request_error', 'max_tokens: must be at least 1');
  return answer(state, response, asked, inputTokens);
}

const refuse = (
  response: ServerResponse,
  status: number,
  type: string,
  message: string,
  headers: Record<string, string> = {},
): void =>
  sendJson(
    response,
    status,
    { type: 'error', error: { type, message }, request_id: `req_stand_in_${randomUUID()}` },
    headers,
  );

const errorTypes: Record<number, string> = {
  400: 'invalid_request_error',
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  529: 'overloaded_error',
};

async function answer(
  state: StandInState,
  response: ServerResponse,
  asked: MessagesRequest,
  inputTokens: number,
): Promise<void> {
  const { knobs, calls } = state;
  const fault = knobs.failNext.shift();
  calls.inFlight += 1;
  response.once('close', () => {
    calls.inFlight -= 1;
    if (!response.writableFinished && fault?.type === undefined) calls.aborted += 1;
  });
  await sleep(knobs.latencyMs);
  if (fault?.type === 'status') {
    calls.refused += 1;
    const headers: Record<string, string> =
      fault.retryAfterSeconds === undefined ? {} : { 'retry-after': String(fault.retryAfterSeconds) };
    return refuse(
      response,
      fault.status,
      errorTypes[fault.status] ?? 'api_error',
      'The stand-in was told to refuse',
      headers,
    );
  }
  if (fault?.type === 'refuse') {
    calls.refused += 1;
    response.destroy();
    return;
  }
  if (response.destroyed) return;
  calls.billable += 1;
  state.lastRequest = asked;
  if (fault?.type === 'nonsense') {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.end('event: message_start\ndata: {"type": "message_st\n\n\u0000\u0001 this is no answer\n\n');
    return;
  }
  const message = messageOf(state, asked, inputTokens);
  if (!asked.stream) return sendJson(response, 200, message);
  await stream(response, message, { fault, spacingMs: knobs.deltaSpacingMs });
}

interface Message {
  id: string;
  type: 'message';
  role: 'assistant';
  model: unknown;
  content: (
    { type: 'text'; text: string } | { type: 'tool_use'; id: string; name: string; input: Record<string, unknown> }
  )[];
  stop_reason: string;
  stop_sequence: null;
  usage: Record<string, unknown>;
}

/** The whole reply. An answer longer than `max_tokens` is cut, as a model's would be. */
function messageOf({ knobs, emittedCode }: StandInState, asked: MessagesRequest, inputTokens: number): Message {
  const fixed = knobs.replies.shift();
  const reply: ScriptedReply = fixed ? { ...fixed, text: fixed.text ?? '' } : scriptedReply(asked.messages ?? []);
  const tokensMax = asked.max_tokens ?? 0;
  const wanted = tokensIn(reply.text) + (reply.code === undefined ? 0 : tokensIn(reply.code) + 20);
  const isCut = wanted > tokensMax;
  const text = isCut ? reply.text.slice(0, tokensMax * 4) : reply.text;
  const content: Message['content'] = text === '' ? [] : [{ type: 'text', text }];
  if (reply.code !== undefined && !isCut) {
    emittedCode.add(codeHash(reply.code));
    content.push({
      type: 'tool_use',
      id: `toolu_stand_in_${randomUUID().slice(0, 8)}`,
      name: 'run_code',
      input: { code: reply.code },
    });
  }
  for (const { name, input } of isCut ? [] : (reply.tools ?? [])) {
    content.push({ type: 'tool_use', id: `toolu_stand_in_${randomUUID().slice(0, 8)}`, name, input });
  }
  return {
    id: `msg_stand_in_${randomUUID()}`,
    type: 'message',
    role: 'assistant',
    model: asked.model,
    content,
    stop_reason: isCut ? 'max_tokens' : content.some(({ type }) => type === 'tool_use') ? 'tool_use' : 'end_turn',
    stop_sequence: null,
    usage: {
      input_tokens: inputTokens,
      output_tokens: Math.min(wanted, tokensMax),
      cache_creation_input_tokens: 0,
      cache_read_input_tokens: 0,
      service_tier: 'standard',
      ...knobs.usage,
    },
  };
}

/** Streams a message as server-sent events. Usage is cumulative: the last event holds all of it. */
async function stream(
  response: ServerResponse,
  message: Message,
  { fault, spacingMs }: { fault: Fault | undefined; spacingMs: number },
): Promise<void> {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' });
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  const send = async (event: { type: string } & Record<string, unknown>): Promise<void> => {
    if (response.destroyed) return;
    response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
    if (spacingMs > 0) await sleep(spacingMs, undefined, { signal: gone.signal }).catch(() => undefined);
  };
  const { output_tokens: outputTokens, ...inputUsage } = message.usage;
  await send({
    type: 'message_start',
    message: {
      ...message,
      content: [],
      stop_reason: null,
      usage: { ...inputUsage, output_tokens: Math.min(1, Number(outputTokens)) },
    },
  });
  await send({ type: 'ping' });
  if (fault?.type === 'cut-before-usage') {
    response.destroy();
    return;
  }
  if (fault?.type === 'hang') return;
  for (const [index, block] of message.content.entries()) {
    const isText = block.type === 'text';
    await send({
      type: 'content_block_start',
      index,
      content_block: isText ? { type: 'text', text: '' } : { ...block, input: {} },
    });
    for (const piece of pieces(isText ? block.text : JSON.stringify(block.input))) {
      const delta = isText ? { type: 'text_delta', text: piece } : { type: 'input_json_delta', partial_json: piece };
      await send({ type: 'content_block_delta', index, delta });
    }
    await send({ type: 'content_block_stop', index });
  }
  const delta = { stop_reason: message.stop_reason, stop_sequence: null };
  await send({ type: 'message_delta', delta, usage: message.usage });
  if (fault?.type === 'cut-after-usage') {
    // What was written has to arrive before the connection breaks.
    await sleep(20);
    response.destroy();
    return;
  }
  await send({ type: 'message_stop' });
  response.end();
}

const pieces = (text: string): string[] => text.match(/[\s\S]{1,200}/g) ?? [];
