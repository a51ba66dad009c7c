/** Anthropic's models, through the Messages API and its official SDK. */
import Anthropic, {
  AnthropicError,
  APIConnectionError,
  APIConnectionTimeoutError,
  APIError,
  APIUserAbortError,
} from '@anthropic-ai/sdk';
import { bindsThoughts, schemaFor, settingsOfCall, thinksAsNeeded } from '../../core/agent/model-settings';
import { doubts } from '../../core/prices/doubts';
import type { ModelPrice } from '../../core/prices/prices';
import { dearestModifiers } from '../../core/prices/pricing';
import { billingOfRefusal } from '../../core/prices/refusals-anthropic';
import { UsageError, usageOf as usageOfCounts } from '../../core/prices/usage';
import { mergeStreamUsage, usageFromAnthropic, type AnthropicUsage } from '../../core/prices/usage-anthropic';
import {
  IdleLimit,
  noRedirects,
  type Block,
  type ModelProvider,
  type ModelRequest,
  type Prompt,
  type StopReason,
  type StreamedReply,
  type StreamOptions,
  providerLimits,
} from './model-provider';
import { callFailure, type ErrorFacts } from '../../core/prices/call-failures';

export interface ProviderAccount {
  apiKey: string;
  /** Another address than the provider's own: the stand-in. */
  baseURL?: string | undefined;
}

/** The region that requests ask for, or `workspace`: whatever is the default of the key's workspace. */
const workspaceGeo = 'workspace';

export interface AnthropicAccount extends ProviderAccount {
  /** `global` unless it is set. */
  inferenceGeo?: string | undefined;
}

/** Every attempt can bill, so it is the workflow that repeats, with a new reservation: never the SDK. */
export function anthropicProvider({ apiKey, baseURL, inferenceGeo = 'global' }: AnthropicAccount): ModelProvider {
  const client = new Anthropic({
    apiKey: apiKey || null,
    authToken: null,
    ...(baseURL === undefined ? {} : { baseURL }),
    maxRetries: 0,
    timeout: providerLimits.callMs,
    fetchOptions: noRedirects,
    logLevel: 'off',
  });
  return {
    async countTokens(model, prompt) {
      const { input_tokens: inputTokens } = await client.messages.countTokens(
        paramsOf(prompt, { model, maxOutputTokens: Infinity }),
        { timeout: providerLimits.countMs },
      );
      return inputTokens;
    },
    modifiersFor(price) {
      if (inferenceGeo === workspaceGeo) return dearestModifiers(price, 'inferenceGeo');
      return inferenceGeo === 'global' || !choosesGeo(price) ? {} : { inferenceGeo };
    },
    stream: (request, options) => stream(client, request, { ...options, inferenceGeo }),
    usageOf({ usage, doubt, isNotBilled }, { model }) {
      if (isNotBilled) return usageOfCounts();
      const read = usageFromAnthropic(usage, model);
      if (doubt !== undefined) throw new UsageError(doubt, read);
      return read;
    },
    failureOf: (error, state) => callFailure(errorFacts(error), { ...state, nowMs: Date.now() }),
  };
}

/** Models from before regions could be chosen refuse the choice; they have no price for one either. */
const choosesGeo = ({ multipliers }: ModelPrice): boolean => Object.keys(multipliers.inferenceGeo).length > 0;

type Params = Required<Pick<Anthropic.MessageCreateParams, 'model' | 'messages' | 'system'>> &
  Pick<Anthropic.MessageCountTokensParams, 'thinking' | 'output_config'> & {
    tools?: Anthropic.Tool[];
    tool_choice?: Anthropic.ToolChoiceNone;
  };
type Asked = Pick<ModelRequest, 'model' | 'maxOutputTokens'>;
type Mark = { cache_control: Anthropic.CacheControlEphemeral } | undefined;

/**
 * A prompt as the API takes it, with marks up to which it is to be cached: its instructions, which its tools come before; its end, from
 * which the next call goes on; and the end of the prompt before, since the provider looks for a mark's earlier ones among the last 20
 * blocks only.
 */
function paramsOf(prompt: Prompt, { model, maxOutputTokens }: Asked, mark?: Mark): Params {
  const { system, messages, tools, callsNoTools } = prompt;
  const ends = new Set(messages.filter(({ role }) => role === 'user').slice(-2));
  const blocks = (block: Block): Anthropic.ContentBlockParam[] => blockParams(block, prompt, model);
  return {
    model,
    ...answerOf(prompt, { model, maxOutputTokens }),
    system: mark && system !== '' ? [{ type: 'text', text: system, ...mark }] : system,
    messages: messages.map((message) => ({
      role: message.role,
      content: marked(message.content.flatMap(blocks), ends.has(message) ? mark : undefined),
    })),
    ...(tools.length === 0
      ? {}
      : {
          ...(callsNoTools ? { tool_choice: { type: 'none' as const } } : {}),
          tools: tools.map(({ name, description, inputSchema }) => ({
            name,
            description,
            input_schema: inputSchema as Anthropic.Tool.InputSchema,
          })),
        }),
  };
}

/** A message up to whose end its prompt is to be cached. An empty text takes no mark. */
function marked(content: Anthropic.ContentBlockParam[], mark: Mark): Anthropic.ContentBlockParam[] {
  const at = content.findLastIndex(({ type, ...block }) => type !== 'text' || (block as { text: string }).text !== '');
  return content.map((block, index) => (index === at ? { ...block, ...mark } : block));
}

const named = (model: string): { provider: string; model: string } => ({ provider: 'anthropic', model });

/** A thought goes back to the model that had it, behind the words that it had it after. */
const isShown = (block: Block & { type: 'opaque' }, { isRetold }: Prompt, model: string): boolean =>
  block.provider === 'anthropic' &&
  (block.model ?? model) === model &&
  !(isRetold === true && bindsThoughts(named(model)));

/**
 * How much it is to think, and the form of its answer. By a budget not in the middle of a turn that began without a thought, as one does that another model
 * began: there the provider wants one first.
 */
function answerOf(
  prompt: Prompt,
  { model, maxOutputTokens }: Asked,
): Pick<Anthropic.MessageCountTokensParams, 'thinking' | 'output_config'> {
  const { settings = {}, callsNoTools: isLast } = prompt;
  const { effort, thinkingBudgetTokens: budget = 0 } = settingsOfCall(named(model), settings, {
    maxOutputTokens,
    isLast,
  });
  const schema = schemaFor(named(model), prompt);
  const format = schema ? { format: { type: 'json_schema' as const, schema: { ...schema } } } : {};
  if (effort !== undefined)
    return {
      output_config: { effort: effort as NonNullable<Anthropic.OutputConfig['effort']>, ...format },
      ...(thinksAsNeeded(named(model)) ? { thinking: { type: 'adaptive' } } : {}),
    };
  return {
    ...(schema ? { output_config: format } : {}),
    ...(budget > 0 && mayThink(prompt, model) ? { thinking: { type: 'enabled', budget_tokens: budget } } : {}),
  };
}

/** What the model says between two words of its user is one turn for the provider, however many tools it uses in it. */
function mayThink(prompt: Prompt, model: string): boolean {
  const { messages } = prompt;
  const turn = messages.slice(
    messages.findLastIndex(
      ({ role, content }) => role === 'user' && !content.some(({ type }) => type === 'tool_result'),
    ),
  );
  const [first] = turn.find(({ role }) => role === 'assistant')?.content ?? [];
  return first === undefined || (first.type === 'opaque' && isShown(first, prompt, model));
}

function blockParams(block: Block, prompt: Prompt, model: string): Anthropic.ContentBlockParam[] {
  if (block.type === 'opaque') return isShown(block, prompt, model) ? [block.value as Anthropic.ContentBlockParam] : [];
  if (block.type === 'file') return [fileParam(block)];
  if (block.type !== 'tool_use') return [block];
  const { id, name, input } = block;
  return [{ type: 'tool_use', id, name, input }];
}

type MediaType = Anthropic.Base64ImageSource['media_type'];

function fileParam({ name, mediaType, data }: Block & { type: 'file' }): Anthropic.ContentBlockParam {
  if (mediaType === 'application/pdf')
    return { type: 'document', title: name, source: { type: 'base64', media_type: mediaType, data } };
  return { type: 'image', source: { type: 'base64', media_type: mediaType as MediaType, data } };
}

const blockOf = (block: Anthropic.ContentBlock, model: string): Block => {
  if (block.type === 'text') return { type: 'text', text: block.text };
  if (block.type === 'tool_use') return { type: 'tool_use', id: block.id, name: block.name, input: block.input };
  return { type: 'opaque', provider: 'anthropic', model, value: block };
};

const stopReasons: Partial<Record<string, StopReason>> = {
  tool_use: 'tool_use',
  max_tokens: 'max_tokens',
  model_context_window_exceeded: 'max_tokens',
  refusal: 'refusal',
};

/** An answer that ends so may end within what it last said: a call of a tool that is cut is none. */
const cutReasons = new Set(['max_tokens', 'model_context_window_exceeded', 'stop_sequence']);

async function stream(
  client: Anthropic,
  { model, price, prompt, maxOutputTokens, cacheWriteTtl: ttl }: ModelRequest,
  { inferenceGeo, ...options }: StreamOptions & { inferenceGeo: string },
): Promise<StreamedReply> {
  const asked = paramsOf(
    prompt,
    { model, maxOutputTokens },
    ttl === undefined ? undefined : { cache_control: { type: 'ephemeral', ttl } },
  );
  const leavesThoughtsOut = asked.thinking === undefined && (prompt.settings?.thinkingBudgetTokens ?? 0) > 0;
  const result: StreamedReply = {
    usageIsFinal: false,
    outputBegan: false,
    ...(leavesThoughtsOut ? { leavesThoughtsOut: true as const } : {}),
  };
  const idle = new IdleLimit(options);
  const hooks: Promise<void>[] = [];
  let textBlocks = 0;
  const geo = choosesGeo(price) && inferenceGeo !== workspaceGeo ? { inference_geo: inferenceGeo } : {};
  const { temperature, stopSequences } = prompt.settings ?? {};
  const events = client.messages.stream(
    // What is left open may follow a default of the account, at another price than the estimate's.
    {
      max_tokens: maxOutputTokens,
      service_tier: 'standard_only',
      ...geo,
      ...asked,
      ...(temperature === undefined ? {} : { temperature }),
      ...(stopSequences === undefined ? {} : { stop_sequences: stopSequences }),
    },
    { signal: idle.signal },
  );
  const keep = ({ content, stop_reason: stopReason, stop_details: details }: Anthropic.Message): void => {
    result.usageIsFinal = true;
    const isCut = content.at(-1)?.type === 'tool_use' && cutReasons.has(stopReason ?? '');
    result.content = (isCut ? content.slice(0, -1) : content).map((block) => blockOf(block, model));
    result.endedAs = stopReason ?? '';
    result.stopReason = stopReasons[result.endedAs] ?? 'end_turn';
    if (stopReason !== 'refusal' || content.length > 0) return;
    const billing = billingOfRefusal(details?.category);
    if (billing === 'not_billed') result.isNotBilled = true;
    else if (billing === 'unknown') result.doubt ??= doubts.unknownRefusal;
  };
  events.on('streamEvent', (event, snapshot) => {
    idle.heard();
    if (event.type === 'message_start') {
      if (result.outputBegan) result.doubt = doubts.twoMessages;
      result.outputBegan = true;
      result.usage = mergeStreamUsage(result.usage as AnthropicUsage | undefined, event.message.usage);
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
      keep(snapshot);
    }
  });
  try {
    await events.finalMessage();
  } catch (error) {
    result.error = error;
    if (isSecondMessage(error)) result.doubt = doubts.twoMessages;
    // The SDK stumbles over a last event without usage. The answer is whole by then, and was paid for.
    const { currentMessage } = events;
    if (!result.usageIsFinal && currentMessage?.stop_reason != null) {
      keep(currentMessage);
      result.doubt ??= doubts.noLastReport;
    }
  } finally {
    idle.end();
  }
  await Promise.all(hooks);
  return result;
}

/** The SDK refuses a `message_start` within a message. */
const isSecondMessage = (error: unknown): boolean =>
  error instanceof AnthropicError && error.message.includes('got message_start before receiving "message_stop"');

export function errorFacts(error: unknown): ErrorFacts {
  if (error instanceof APIUserAbortError) return { kind: 'aborted' };
  if (error instanceof APIConnectionTimeoutError) return { kind: 'timeout' };
  if (error instanceof APIConnectionError) return { kind: 'connection', error };
  if (!(error instanceof APIError)) return { kind: 'other' };
  const { status, type, requestID, headers } = error as APIError;
  return { kind: 'status', status, type, requestId: requestID, retryAfter: headers?.get('retry-after') };
}
