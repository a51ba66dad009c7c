/** OpenAI's models, through the Responses API and its official SDK. Nothing is stored at the provider. */
import OpenAI, { APIConnectionError, APIConnectionTimeoutError, APIError, APIUserAbortError } from 'openai';
import type {
  Response,
  ResponseInputItem,
  ResponseOutputItem,
  FunctionTool,
} from 'openai/resources/responses/responses';
import { usageFromOpenAi } from '../../core/usage-openai';
import type { ProviderAccount } from './anthropic';
import {
  IdleLimit,
  type Block,
  type ModelProvider,
  type ModelRequest,
  type Prompt,
  type PromptMessage,
  type StopReason,
  type StreamedReply,
  type StreamOptions,
} from './model-provider';
import { callFailure, type ErrorFacts } from './provider-errors';

/** Every attempt can bill, so it is the workflow that repeats, with a new reservation: never the SDK. */
export function openAiProvider({ apiKey, baseURL }: ProviderAccount): ModelProvider {
  const client = new OpenAI({
    apiKey,
    ...(baseURL === undefined ? {} : { baseURL }),
    maxRetries: 0,
    logLevel: 'off',
  });
  return {
    async countTokens(model, prompt) {
      const { input_tokens: inputTokens } = await client.responses.inputTokens.count({ model, ...paramsOf(prompt) });
      return inputTokens;
    },
    stream: (request, options) => stream(client, request, options),
    usageOf({ usage }, price) {
      const { usage: counts, service_tier: serviceTier } = usage as Pick<Response, 'usage' | 'service_tier'>;
      return usageFromOpenAi(counts, { billsCacheWrites: price.rates.cacheWrite5mUsd !== undefined, serviceTier });
    },
    failureOf: (error, state) => callFailure(errorFacts(error), state),
  };
}

function paramsOf({ system, messages, tools }: Prompt): {
  instructions: string;
  input: ResponseInputItem[];
  tools: FunctionTool[];
} {
  return {
    instructions: system,
    input: messages.flatMap(itemsOf),
    tools: tools.map(({ name, description, inputSchema }) => ({
      type: 'function',
      name,
      description,
      parameters: inputSchema,
      strict: false,
    })),
  };
}

/** A message of the transcript as the items that the API takes: what was said, called and answered are items of their own. */
function itemsOf({ role, content }: PromptMessage): ResponseInputItem[] {
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
      case 'opaque':
        return block.provider === 'openai' ? [block.value as ResponseInputItem] : [];
      default:
        return [];
    }
  });
}

function blocksOf(item: ResponseOutputItem): Block[] {
  if (item.type === 'message') {
    return item.content.map((part) => ({ type: 'text', text: part.type === 'output_text' ? part.text : part.refusal }));
  }
  if (item.type === 'function_call')
    return [{ type: 'tool_use', id: item.call_id, name: item.name, input: inputOf(item.arguments) }];
  // A thought goes back encrypted, without the id under which nothing was stored.
  if (item.type === 'reasoning') {
    const { id: _, ...value } = item;
    return item.encrypted_content ? [{ type: 'opaque', provider: 'openai', value }] : [];
  }
  return [];
}

/** Arguments that are no JSON are the model's mistake; the tool tells it so. */
function inputOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return { unreadable: text };
  }
}

function stopReasonOf(response: Response): StopReason {
  if (response.incomplete_details?.reason === 'max_output_tokens') return 'max_tokens';
  if (response.incomplete_details?.reason === 'content_filter') return 'refusal';
  return response.output.some((item) => item.type === 'function_call') ? 'tool_use' : 'end_turn';
}

async function stream(client: OpenAI, request: ModelRequest, options: StreamOptions): Promise<StreamedReply> {
  const { model, prompt, maxOutputTokens } = request;
  const result: StreamedReply = { usageIsFinal: false, outputBegan: false };
  const idle = new IdleLimit(options);
  let parts = 0;
  try {
    const events = await client.responses.create(
      {
        model,
        ...paramsOf(prompt),
        max_output_tokens: maxOutputTokens,
        stream: true,
        store: false,
        include: ['reasoning.encrypted_content'],
      },
      { signal: idle.signal },
    );
    for await (const event of events) {
      idle.heard();
      if (event.type === 'response.created') {
        result.outputBegan = true;
        await options.onFirstOutput?.();
      } else if (event.type === 'response.content_part.added') {
        // Pieces add up to the text as events tell it: a line for each part.
        if (parts > 0) options.onText?.('\n');
        parts += 1;
      } else if (event.type === 'response.output_text.delta' || event.type === 'response.refusal.delta') {
        options.onText?.(event.delta);
      } else if (event.type === 'response.completed' || event.type === 'response.incomplete') {
        const { response } = event;
        result.content = response.output.flatMap(blocksOf);
        result.stopReason = stopReasonOf(response);
        result.usage = { usage: response.usage, service_tier: response.service_tier };
        result.usageIsFinal = response.usage != null;
      } else if (event.type === 'response.failed' || event.type === 'error') {
        result.error = new Error('the response failed');
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
  if (!(error instanceof APIError)) return { kind: 'other' };
  const { status, type, code, requestID, headers } = error as APIError;
  const retryAfter = headers?.get('retry-after');
  return {
    kind: 'status',
    status,
    type: code === 'insufficient_quota' ? code : type,
    requestId: requestID,
    retryAfter,
  };
}
