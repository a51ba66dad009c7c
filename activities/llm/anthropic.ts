/** Anthropic's models, through the Messages API and its official SDK. */
import Anthropic, {
  APIConnectionError,
  APIConnectionTimeoutError,
  APIError,
  APIUserAbortError,
} from '@anthropic-ai/sdk';
import { mergeStreamUsage, usageFromAnthropic, type AnthropicUsage } from '../../core/usage-anthropic';
import {
  IdleLimit,
  type Block,
  type ModelProvider,
  type ModelRequest,
  type Prompt,
  type StopReason,
  type StreamedReply,
  type StreamOptions,
} from './model-provider';
import { callFailure, type ErrorFacts } from './provider-errors';

export interface ProviderAccount {
  apiKey: string;
  /** Another address than the provider's own: the stand-in. */
  baseURL?: string | undefined;
}

/** Every attempt can bill, so it is the workflow that repeats, with a new reservation: never the SDK. */
export function anthropicProvider({ apiKey, baseURL }: ProviderAccount): ModelProvider {
  const client = new Anthropic({
    apiKey: apiKey || null,
    authToken: null,
    ...(baseURL === undefined ? {} : { baseURL }),
    maxRetries: 0,
    logLevel: 'off',
  });
  return {
    async countTokens(model, prompt) {
      const { input_tokens: inputTokens } = await client.messages.countTokens({ model, ...paramsOf(prompt) });
      return inputTokens;
    },
    stream: (request, options) => stream(client, request, options),
    usageOf: ({ usage }) => usageFromAnthropic(usage),
    failureOf: (error, state) => callFailure(errorFacts(error), state),
  };
}

type Params = Required<Pick<Anthropic.MessageCreateParams, 'messages' | 'system'>> & { tools?: Anthropic.Tool[] };

function paramsOf({ system, messages, tools }: Prompt): Params {
  return {
    system,
    messages: messages.map(({ role, content }) => ({ role, content: content.flatMap(blockParams) })),
    ...(tools.length === 0
      ? {}
      : {
          tools: tools.map(({ name, description, inputSchema }) => ({
            name,
            description,
            input_schema: inputSchema as Anthropic.Tool.InputSchema,
          })),
        }),
  };
}

function blockParams(block: Block): Anthropic.ContentBlockParam[] {
  if (block.type === 'opaque')
    return block.provider === 'anthropic' ? [block.value as Anthropic.ContentBlockParam] : [];
  if (block.type !== 'tool_use') return [block];
  const { id, name, input } = block;
  return [{ type: 'tool_use', id, name, input }];
}

const blockOf = (block: Anthropic.ContentBlock): Block => {
  if (block.type === 'text') return { type: 'text', text: block.text };
  if (block.type === 'tool_use') return { type: 'tool_use', id: block.id, name: block.name, input: block.input };
  return { type: 'opaque', provider: 'anthropic', value: block };
};

const stopReasons: Partial<Record<string, StopReason>> = {
  tool_use: 'tool_use',
  max_tokens: 'max_tokens',
  model_context_window_exceeded: 'max_tokens',
  refusal: 'refusal',
};

async function stream(client: Anthropic, request: ModelRequest, options: StreamOptions): Promise<StreamedReply> {
  const { model, prompt, maxOutputTokens } = request;
  const result: StreamedReply = { usageIsFinal: false, outputBegan: false };
  const idle = new IdleLimit(options);
  const hooks: Promise<void>[] = [];
  let textBlocks = 0;
  const events = client.messages.stream(
    { model, max_tokens: maxOutputTokens, ...paramsOf(prompt) },
    { signal: idle.signal },
  );
  events.on('streamEvent', (event, snapshot) => {
    idle.heard();
    if (event.type === 'message_start') {
      result.outputBegan = true;
      result.usage = mergeStreamUsage(undefined, event.message.usage);
      hooks.push(Promise.resolve(options.onFirstOutput?.()));
    } else if (event.type === 'content_block_start' && event.content_block.type === 'text') {
      // Pieces add up to the text as events tell it: a line for each block.
      if (textBlocks > 0) options.onText?.('\n');
      textBlocks += 1;
    } else if (event.type === 'content_block_delta' && event.delta.type === 'text_delta') {
      options.onText?.(event.delta.text);
    } else if (event.type === 'message_delta') {
      // It comes after every content block: from here on the answer is whole, whatever happens to the connection.
      result.usage = mergeStreamUsage(result.usage as AnthropicUsage | undefined, event.usage);
      result.usageIsFinal = true;
      result.content = snapshot.content.map(blockOf);
      result.stopReason = stopReasons[event.delta.stop_reason ?? ''] ?? 'end_turn';
    }
  });
  try {
    await events.finalMessage();
  } catch (error) {
    result.error = error;
  } finally {
    idle.end();
  }
  await Promise.all(hooks);
  return result;
}

export function errorFacts(error: unknown): ErrorFacts {
  if (error instanceof APIUserAbortError) return { kind: 'aborted' };
  if (error instanceof APIConnectionTimeoutError) return { kind: 'timeout' };
  if (error instanceof APIConnectionError) return { kind: 'connection', error };
  if (!(error instanceof APIError)) return { kind: 'other' };
  const { status, type, requestID, headers } = error as APIError;
  return { kind: 'status', status, type, requestId: requestID, retryAfter: headers?.get('retry-after') };
}
