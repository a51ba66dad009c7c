/** The formats that the wire proxy speaks, each with a small call of its own: what is asked, what is answered, and how something wrong is said. */
import type { Provider } from './proxy-scene';

interface Asked {
  path: string;
  body: object;
}

export interface ProxyFormat {
  name: string;
  provider: Provider;
  model: string;
  keyHeader(key: string): Record<string, string>;
  whole: Asked & { answer: string };
  /** Absent of one that has none. */
  stream?: Asked & {
    events: [string, ...string[]];
    errorEvent: (code: string) => { name: string | undefined; data: object };
  };
  /** The count of a prompt, where the provider has one. */
  count?: Asked;
  listPath: string;
  /** The whole call, of another model. */
  ofModel(model: string): Asked;
  /** What either comes to. */
  usd: string;
  /** A refusal of ours, all of it. */
  error(status: number, code: string): object;
}

const text = expect.any(String) as string;
const spendlockOf = (error: string): unknown =>
  expect.objectContaining({ error, message: text, action: text, requestId: text });
const named = (type: string, data: object): string => `event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`;
const data = (value: object): string => `data: ${JSON.stringify(value)}\n\n`;

const messages = [{ role: 'user', content: 'Hello' }];

const anthropicTypes: Partial<Record<number, string>> = {
  ...{ 401: 'authentication_error', 403: 'permission_error', 413: 'request_too_large', 429: 'rate_limit_error' },
  ...{ 502: 'api_error', 503: 'api_error' },
};
const anthropicError = (status: number, code: string) => ({
  type: 'error',
  error: { type: anthropicTypes[status] ?? 'invalid_request_error', message: text },
  request_id: text,
  spendlock: spendlockOf(code),
});
const claude = 'claude-haiku-4-5';
const claudeAsked = { model: claude, max_tokens: 1_000, messages };
const claudeMessage = {
  ...{ id: 'm', type: 'message', role: 'assistant', model: claude, content: [], stop_reason: 'end_turn' },
  usage: { input_tokens: 1_000, output_tokens: 200, service_tier: 'standard' },
};
const anthropicMessages: ProxyFormat = {
  ...{ name: 'Messages', provider: 'anthropic', model: claude, listPath: '/v1/models', usd: '0.002' },
  keyHeader: (key) => ({ 'x-api-key': key }),
  whole: { path: '/v1/messages', body: claudeAsked, answer: JSON.stringify(claudeMessage) },
  stream: {
    ...{ path: '/v1/messages', body: { ...claudeAsked, stream: true } },
    events: [
      named('message_start', { message: { ...claudeMessage, stop_reason: null } }),
      named('message_delta', { delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 200 } }),
      named('message_stop', {}),
    ],
    errorEvent: (code) => ({ name: 'error', data: anthropicError(502, code) }),
  },
  count: { path: '/v1/messages/count_tokens', body: { model: claude, messages } },
  ofModel: (model) => ({ path: '/v1/messages', body: { ...claudeAsked, model } }),
  error: anthropicError,
};

const openAiTypes: Partial<Record<number, { type: string; code?: string }>> = {
  401: { type: 'invalid_request_error', code: 'invalid_api_key' },
  429: { type: 'requests', code: 'rate_limit_exceeded' },
  502: { type: 'server_error' },
  503: { type: 'server_error' },
};
const openAiDetails = (status: number, code: string) => ({
  ...{ message: text, type: 'invalid_request_error', code: null, param: null, spendlock: spendlockOf(code) },
  ...openAiTypes[status],
});
const openAi = {
  ...{ provider: 'openai' as const, listPath: '/v1/models' },
  keyHeader: (key: string) => ({ authorization: `Bearer ${key}` }),
  error: (status: number, code: string) => ({ error: openAiDetails(status, code) }),
};
const gpt = 'gpt-4o';
const responsesAsked = { model: gpt, max_output_tokens: 1_000, input: 'Hello' };
const response = {
  ...{ id: 'r', object: 'response', status: 'completed', model: gpt, output: [], service_tier: 'default' },
  usage: { input_tokens: 10, output_tokens: 2, total_tokens: 12 },
};
const openAiResponses: ProxyFormat = {
  ...openAi,
  ...{ name: 'Responses', model: gpt, usd: '0.000045' },
  whole: { path: '/v1/responses', body: responsesAsked, answer: JSON.stringify(response) },
  stream: {
    ...{ path: '/v1/responses', body: { ...responsesAsked, stream: true } },
    events: [
      named('response.output_item.added', { output_index: 0, item: { type: 'message' }, sequence_number: 0 }),
      named('response.completed', { response, sequence_number: 1 }),
    ],
    errorEvent: (code) => ({
      name: 'error',
      data: {
        ...openAiDetails(502, code),
        ...{ type: 'error', sequence_number: expect.any(Number) as number, error: openAiDetails(502, code) },
      },
    }),
  },
  count: { path: '/v1/responses/input_tokens', body: { model: gpt, input: 'Hello' } },
  ofModel: (model) => ({ path: '/v1/responses', body: { ...responsesAsked, model } }),
};
const chatAsked = { model: gpt, max_tokens: 100, messages };
const chatUsage = { prompt_tokens: 10, completion_tokens: 2, total_tokens: 12 };
const openAiChat: ProxyFormat = {
  ...openAi,
  ...{ name: 'Chat Completions', model: gpt, usd: '0.000045' },
  whole: {
    ...{ path: '/v1/chat/completions', body: chatAsked },
    answer: JSON.stringify({ object: 'chat.completion', choices: [], usage: chatUsage }),
  },
  stream: {
    ...{ path: '/v1/chat/completions' },
    body: { ...chatAsked, stream: true, stream_options: { include_usage: true } },
    events: [
      data({ object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content: 'a' } }], usage: null }),
      data({ object: 'chat.completion.chunk', choices: [], usage: chatUsage }),
      'data: [DONE]\n\n',
    ],
    errorEvent: (code) => ({ name: undefined, data: { error: openAiDetails(502, code) } }),
  },
  ofModel: (model) => ({ path: '/v1/chat/completions', body: { ...chatAsked, model } }),
};
const embedding = 'text-embedding-3-large';
const embeddingsAsked = { model: embedding, input: 'Hello', encoding_format: 'base64' };
const openAiEmbeddings: ProxyFormat = {
  ...openAi,
  ...{ name: 'Embeddings', model: embedding, usd: '0.0000013' },
  whole: {
    ...{ path: '/v1/embeddings', body: embeddingsAsked },
    answer: JSON.stringify({
      ...{ object: 'list', data: [{ object: 'embedding', index: 0, embedding: 'AACAPwAAAEA=' }], model: embedding },
      usage: { prompt_tokens: 10, total_tokens: 10 },
    }),
  },
  ofModel: (model) => ({ path: '/v1/embeddings', body: { ...embeddingsAsked, model } }),
};

const googleStatuses: Partial<Record<number, string>> = {
  ...{ 401: 'UNAUTHENTICATED', 403: 'PERMISSION_DENIED', 422: 'FAILED_PRECONDITION', 429: 'RESOURCE_EXHAUSTED' },
  ...{ 502: 'UNKNOWN', 503: 'UNAVAILABLE' },
};
const googleError = (status: number, code: string) => ({
  error: {
    ...{ code: status, message: text, status: googleStatuses[status] ?? 'INVALID_ARGUMENT' },
    details: expect.arrayContaining([
      { '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: code.toUpperCase(), domain: 'spendlock' },
      { '@type': 'type.googleapis.com/google.rpc.RequestInfo', requestId: text },
    ]) as object[],
    spendlock: spendlockOf(code),
  },
});
const gemini = 'gemini-2.5-pro';
const contents = [{ parts: [{ text: 'Hello' }] }];
const geminiAsked = { contents, generationConfig: { maxOutputTokens: 1_000 } };
const piece = (more: object) => ({
  candidates: [{ content: { parts: [{ text: 'a' }], role: 'model' }, index: 0, ...more }],
  usageMetadata: { promptTokenCount: 10, candidatesTokenCount: 2, totalTokenCount: 12 },
});
const pathOf = (model: string): string => `/v1beta/models/${model}:generateContent`;
const googleContent: ProxyFormat = {
  ...{ name: 'Gemini', provider: 'google', model: gemini, listPath: '/v1beta/models', usd: '0.0000325' },
  keyHeader: (key) => ({ 'x-goog-api-key': key }),
  whole: { path: pathOf(gemini), body: geminiAsked, answer: JSON.stringify(piece({ finishReason: 'STOP' })) },
  stream: {
    ...{ path: `/v1beta/models/${gemini}:streamGenerateContent?alt=sse`, body: geminiAsked },
    events: [data(piece({})), data(piece({ finishReason: 'STOP' }))],
    errorEvent: (code) => ({ name: undefined, data: googleError(502, code) }),
  },
  count: { path: `/v1beta/models/${gemini}:countTokens`, body: { contents } },
  ofModel: (model) => ({ path: pathOf(model), body: geminiAsked }),
  error: googleError,
};

export const formats: ProxyFormat[] = [anthropicMessages, openAiResponses, openAiChat, openAiEmbeddings, googleContent];
