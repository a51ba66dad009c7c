/** OpenAI's models, through the Responses API and its official SDK. Nothing is stored at the provider. */
import OpenAI, { APIConnectionError, APIConnectionTimeoutError, APIError, APIUserAbortError } from 'openai';
import type {
  Response,
  ResponseInputContent,
  ResponseInputItem,
  ResponseOutputItem,
  ResponseTextConfig,
  FunctionTool,
} from 'openai/resources/responses/responses';
import type { ReasoningEffort } from 'openai/resources/shared';
import { hasThoughts, schemaFor, settingsOfCall } from '../../core/agent/model-settings';
import { unreadableInput } from '../../core/agent/own-tools';
import { isRegionalOpenAi, openAiRegion } from '../../core/prices/regions-openai';
import { usageFromOpenAi } from '../../core/prices/usage-openai';
import type { ProviderAccount } from './anthropic';
import {
  IdleLimit,
  noRedirects,
  type Block,
  type ModelProvider,
  type ModelRequest,
  type Prompt,
  type PromptMessage,
  type StopReason,
  type StreamedReply,
  type StreamOptions,
  providerLimits,
} from './model-provider';
import { callFailure, waitIn, type ErrorFacts } from '../../core/prices/call-failures';

/** Every attempt can bill, so it is the workflow that repeats, with a new reservation: never the SDK. */
export function openAiProvider({ apiKey, baseURL }: ProviderAccount): ModelProvider {
  const client = new OpenAI({
    apiKey,
    ...(baseURL === undefined ? {} : { baseURL }),
    maxRetries: 0,
    timeout: providerLimits.callMs,
    fetchOptions: noRedirects,
    logLevel: 'off',
  });
  const region = isRegionalOpenAi(baseURL) ? { inferenceGeo: openAiRegion } : {};
  return {
    async countTokens(model, prompt) {
      const { input_tokens: inputTokens } = await client.responses.inputTokens.count(paramsOf(prompt, model), {
        timeout: providerLimits.countMs,
      });
      return inputTokens;
    },
    modifiersFor: () => region,
    stream: (request, options) => stream(client, request, options),
    usageOf({ usage }, price) {
      const { usage: counts, service_tier: serviceTier, output } = usage as Billed;
      const billsCacheWrites = price.rates.cacheWrite5mUsd !== undefined;
      return usageFromOpenAi(counts, { billsCacheWrites, serviceTier, output, ...region });
    },
    failureOf: (error, state) => callFailure(errorFacts(error), { ...state, nowMs: Date.now() }),
  };
}

/** What of a response says what it costs. */
interface Billed {
  usage: unknown;
  service_tier: string | null | undefined;
  output: { type: string; action?: { type: string | undefined } }[];
}

function paramsOf(
  { system, messages, tools, callsNoTools, settings, answerSchema }: Prompt,
  model: string,
  maxOutputTokens = Infinity,
): {
  model: string;
  reasoning?: { effort: ReasoningEffort };
  text?: ResponseTextConfig;
  instructions: string;
  input: ResponseInputItem[];
  tools: FunctionTool[];
  tool_choice?: 'none';
} {
  const whose = { provider: 'openai', model };
  const schema = schemaFor(whose, { answerSchema, tools });
  const { effort } = settingsOfCall(whose, settings ?? {}, { maxOutputTokens, isLast: callsNoTools });
  return {
    model,
    ...(effort === undefined ? {} : { reasoning: { effort } }),
    ...(schema
      ? { text: { format: { type: 'json_schema', name: 'answer', schema: { ...schema }, strict: true } } }
      : {}),
    instructions: system,
    input: messages.flatMap((message) => itemsOf(message, model)),
    tools: tools.map(({ name, description, inputSchema }) => ({
      type: 'function',
      name,
      description,
      parameters: inputSchema,
      strict: false,
    })),
    ...(callsNoTools && tools.length > 0 ? { tool_choice: 'none' } : {}),
  };
}

/** A message of the transcript as the items that the API takes: what was said, called and answered are items of their own. */
function itemsOf({ role, content }: PromptMessage, model: string): ResponseInputItem[] {
  return content.flatMap((block): ResponseInputItem[] => {
    switch (block.type) {
      case 'text':
        return [{ type: 'message', role, content: block.text }];
      case 'tool_use':
        return [
          { type: 'function_call', call_id: block.id, name: block.name, arguments: JSON.stringify(block.input ?? {}) },
        ];
      case 'tool_result':
        return [{ type: 'function_call_output', call_id: block.tool_use_id, output: block.content }];
      case 'file':
        return [{ type: 'message', role: 'user', content: [filePart(block)] }];
      case 'opaque':
        return block.provider === 'openai' && (block.model ?? model) === model
          ? [block.value as ResponseInputItem]
          : [];
      default:
        return [];
    }
  });
}

function filePart({ name, mediaType, data }: Block & { type: 'file' }): ResponseInputContent {
  const url = `data:${mediaType};base64,${data}`;
  return mediaType === 'application/pdf'
    ? { type: 'input_file', filename: name, file_data: url }
    : { type: 'input_image', image_url: url, detail: 'auto' };
}

function blocksOf(item: ResponseOutputItem, model: string): Block[] {
  if (item.type === 'message') {
    return item.content.map((part) => ({ type: 'text', text: part.type === 'output_text' ? part.text : part.refusal }));
  }
  if (item.type === 'function_call')
    return [{ type: 'tool_use', id: item.call_id, name: item.name, input: inputOf(item.arguments) }];
  // A thought goes back encrypted, without the id under which nothing was stored.
  if (item.type === 'reasoning') {
    const { id: _, ...value } = item;
    return item.encrypted_content ? [{ type: 'opaque', provider: 'openai', model, value }] : [];
  }
  return [];
}

/** Arguments that are no JSON are the model's mistake, and it is told so. */
function inputOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return unreadableInput(text);
  }
}

/** What it answered. A call of a tool that the end of an answer cut off is none, whatever its arguments look like. */
function contentOf({ output, status }: Response, model: string): Block[] {
  const last = status === 'incomplete' ? output.at(-1) : undefined;
  const isCut = (item: ResponseOutputItem): boolean =>
    item.type === 'function_call' && (item === last || item.status === 'incomplete');
  return output.filter((item) => !isCut(item)).flatMap((item) => blocksOf(item, model));
}

function stopReasonOf(response: Response): StopReason {
  if (response.incomplete_details?.reason === 'max_output_tokens') return 'max_tokens';
  if (response.incomplete_details?.reason === 'content_filter') return 'refusal';
  const isRefused = response.output.some(
    (item) => item.type === 'message' && item.content.some(({ type }) => type === 'refusal'),
  );
  if (isRefused) return 'refusal';
  return response.output.some((item) => item.type === 'function_call') ? 'tool_use' : 'end_turn';
}

/** A response that the provider ended as failed. Its text may quote the prompt, so no message of ours repeats it. */
class ResponseFailed extends Error {
  readonly code: string | null;
  readonly retryAfter: string | undefined;
  constructor({ code, message }: { code: string | null; message: string } = { code: null, message: '' }) {
    super('the response failed');
    this.code = code;
    this.retryAfter = waitIn(message);
  }
}

/** Of the output only what its items are: their words are no part of what is kept with a cost. */
const billedOf = ({ usage, service_tier, output }: Response): Billed => ({
  usage,
  service_tier,
  output: output.map((item) => ({
    type: item.type,
    ...(item.type === 'web_search_call' ? { action: { type: item.action?.type } } : {}),
  })),
});

async function stream(client: OpenAI, request: ModelRequest, options: StreamOptions): Promise<StreamedReply> {
  const { model, prompt, maxOutputTokens, cacheKey } = request;
  const result: StreamedReply = { usageIsFinal: false, outputBegan: false };
  const idle = new IdleLimit(options);
  const { temperature } = prompt.settings ?? {};
  let parts = 0;
  try {
    const events = await client.responses.create(
      {
        ...paramsOf(prompt, model, maxOutputTokens),
        ...(temperature === undefined ? {} : { temperature }),
        max_output_tokens: maxOutputTokens,
        stream: true,
        store: false,
        // Left open, it would follow the project's default, at another price than the estimate's.
        service_tier: 'default',
        ...(cacheKey === undefined ? {} : { prompt_cache_key: cacheKey }),
        // Who has no thoughts refuses to tell them.
        ...(hasThoughts({ provider: 'openai', model }) ? { include: ['reasoning.encrypted_content' as const] } : {}),
      },
      { signal: idle.signal },
    );
    for await (const event of events) {
      idle.heard();
      if (event.type === 'response.created') {
        await options.onFirstOutput?.();
      } else if (event.type === 'response.output_item.added') {
        result.outputBegan = true;
      } else if (event.type === 'response.content_part.added') {
        // Pieces add up to the text as events tell it: a line for each part.
        if (parts > 0) options.onText?.('\n');
        parts += 1;
      } else if (event.type === 'response.output_text.delta' || event.type === 'response.refusal.delta') {
        options.onText?.(event.delta);
      } else if (event.type === 'response.completed' || event.type === 'response.incomplete') {
        const { response } = event;
        result.content = contentOf(response, model);
        result.stopReason = stopReasonOf(response);
        result.endedAs = response.incomplete_details?.reason ?? response.status ?? '';
        result.usage = billedOf(response);
        result.usageIsFinal = true;
      } else if (event.type === 'response.failed') {
        // Billed all the same, when it says for what.
        if (event.response.usage != null) {
          result.usage = billedOf(event.response);
          result.usageIsFinal = result.hasFailed = true;
        }
        result.error = new ResponseFailed(event.response.error ?? undefined);
      } else if (event.type === 'error') {
        result.error = new ResponseFailed(event);
      }
    }
  } catch (error) {
    result.error = error;
  } finally {
    idle.end();
  }
  // The SDK ends an aborted stream without an error.
  if (!result.usageIsFinal) result.error ??= new APIUserAbortError();
  return result;
}

function errorFacts(error: unknown): ErrorFacts {
  if (error instanceof APIUserAbortError) return { kind: 'aborted' };
  if (error instanceof APIConnectionTimeoutError) return { kind: 'timeout' };
  if (error instanceof APIConnectionError) return { kind: 'connection', error };
  if (error instanceof ResponseFailed) {
    const { code, retryAfter } = error;
    return { kind: 'status', status: undefined, type: code, retryAfter };
  }
  if (!(error instanceof APIError)) return { kind: 'other' };
  const { status, type, code, requestID, headers, message } = error as APIError;
  const retryAfter = headers?.get('retry-after') ?? waitIn(message);
  // Without a status it came as an event of the stream: its code says more than its type.
  const named = code === 'insufficient_quota' || (status === undefined && code) ? code : type;
  return { kind: 'status', status, type: named, requestId: requestID, retryAfter };
}
