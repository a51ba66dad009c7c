/** Google's Gemini models, through the Gemini API and its official SDK. */
import {
  ApiError,
  FinishReason,
  FunctionCallingConfigMode,
  type GenerateContentConfig,
  GoogleGenAI,
  type Content,
  type GenerateContentResponse,
  type GroundingMetadata,
  type Part,
  type ThinkingLevel,
} from '@google/genai';
import { hasThoughts, schemaFor, settingsOfCall } from '../../core/agent/model-settings';
import { overheads, valueTokensMax } from '../../core/prices/token-bounds';
import { omitUndefined } from '../../core/omit-undefined';
import { geminiImageTokens, geminiPageFactor } from '../../core/prices/image-tokens';
import { UsageError } from '../../core/prices/usage';
import {
  groundingFrom,
  mergeGoogleUsage,
  usageFromGoogle,
  type GoogleDetails,
  type GoogleUsage,
} from '../../core/prices/usage-google';
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
import { callFailure, type ErrorFacts } from '../../core/prices/call-failures';
import { doubts } from '../../core/prices/doubts';

/** The SDK tells what leads elsewhere from no other error, so it is told here. */
const fetchHere: typeof fetch = async (input, init) => {
  const signal = init?.signal ?? AbortSignal.timeout(providerLimits.callMs);
  const response = await fetch(input, { ...init, ...noRedirects, signal });
  const { status } = response;
  if (status < 300 || status >= 400) return response;
  await response.body?.cancel();
  throw new ApiError({ message: '', status });
};

/** The SDK repeats nothing unless told to: every attempt can bill, so it is the workflow that repeats. */
export function googleProvider({ apiKey, baseURL }: ProviderAccount): ModelProvider {
  const client = new GoogleGenAI({
    apiKey,
    httpOptions: {
      fetch: fetchHere,
      ...(baseURL === undefined ? {} : { baseUrl: baseURL }),
    },
  });
  return {
    async countTokens(model, prompt) {
      // The Gemini API counts contents only, so instructions and tools are counted as text.
      const rest = { role: 'user', parts: [{ text: `${prompt.system}\n${JSON.stringify(prompt.tools)}` }] };
      const { totalTokens = 0 } = await client.models.countTokens({
        model,
        contents: [rest, ...contentsOf(model, prompt)],
        config: { abortSignal: AbortSignal.timeout(providerLimits.countMs) },
      });
      if (totalTokens === 0) return 0;
      // What it is to answer by is input too, and not counted.
      const schema = schemaFor({ provider: 'google', model }, prompt);
      const ofSchema = schema ? overheads.settingsTokens + valueTokensMax(schema) : 0;
      return withFiles(totalTokens, prompt, model) + ofSchema;
    },
    // A tier is chosen by the request alone: no default of an account changes what one that says nothing costs.
    modifiersFor: () => ({}),
    stream: (request, options) => stream(client, request, options),
    usageOf({ usage, doubt }) {
      const { counts, ...details } = usage as Billed;
      const read = usageFromGoogle(counts, details);
      if (doubt !== undefined) throw new UsageError(doubt, read);
      return read;
    },
    failureOf: (error, state) => callFailure(errorFacts(error), { ...state, nowMs: Date.now() }),
  };
}

/** Its counting tells less of images and of pages of documents than they may take. */
function withFiles(counted: number, { messages }: Prompt, model: string): number {
  let tokens = counted;
  for (const block of messages.flatMap(({ content }) => content)) {
    if (block.type !== 'file') continue;
    if (block.mediaType === 'application/pdf') tokens += (geminiPageFactor.plain - 1) * counted;
    else tokens += geminiImageTokens(() => Buffer.from(block.data, 'base64'), model) ?? Infinity;
  }
  // What nobody can bound is no count.
  return tokens;
}

/** What of a response says what it costs: no words, which are no part of what is kept with a cost. */
type Billed = GoogleDetails & { counts: GoogleUsage | undefined };

/** Results name the call that they answer by its tool, so the names are looked up in what was said before. */
function contentsOf(model: string, { messages }: Prompt): Content[] {
  const names = new Map(
    messages.flatMap(({ content }) =>
      content.flatMap((block) => (block.type === 'tool_use' ? [[block.id, block.name] as const] : [])),
    ),
  );
  return messages.map(({ role, content }: PromptMessage) => ({
    role: role === 'assistant' ? 'model' : 'user',
    parts: content.flatMap((block) =>
      partsOf(block, { names, model, isFirstCall: block === content.find(({ type }) => type === 'tool_use') }),
    ),
  }));
}

/**
 * What stands for the signature of a call that another model made: Gemini 3 refuses a turn whose calls have none (Google's "Thought
 * signatures", 2026-11).
 */
const unsigned = 'skip_thought_signature_validator';

function partsOf(
  block: Block,
  { names, model, isFirstCall }: { names: ReadonlyMap<string, string>; model: string; isFirstCall: boolean },
): Part[] {
  switch (block.type) {
    case 'text':
      return [{ text: block.text }];
    case 'file':
      return [{ inlineData: { mimeType: block.mediaType, data: block.data } }];
    case 'tool_use': {
      const { id, name, input, thoughtSignature: signature, signedBy = model } = block;
      const functionCall = { id, name, args: (input ?? {}) as Record<string, unknown> };
      const own = signedBy === model ? signature : undefined;
      const thoughtSignature =
        own ?? (isFirstCall && hasThoughts({ provider: 'google', model }) ? unsigned : undefined);
      return [thoughtSignature === undefined ? { functionCall } : { functionCall, thoughtSignature }];
    }
    case 'tool_result': {
      const { tool_use_id: id, content, is_error: isError } = block;
      const response = isError ? { error: content } : { output: content };
      return [{ functionResponse: { id, name: names.get(id) ?? 'unknown', response } }];
    }
    default:
      return [];
  }
}

const stopReasons: Partial<Record<string, StopReason>> = {
  [FinishReason.MAX_TOKENS]: 'max_tokens',
  [FinishReason.SAFETY]: 'refusal',
  [FinishReason.RECITATION]: 'refusal',
  [FinishReason.BLOCKLIST]: 'refusal',
  [FinishReason.PROHIBITED_CONTENT]: 'refusal',
  [FinishReason.SPII]: 'refusal',
};

/** A tool was to be called in a way that Google cannot read, or refuses: such a call is not in the answer. */
const brokenCalls: readonly string[] = [
  FinishReason.MALFORMED_FUNCTION_CALL,
  FinishReason.UNEXPECTED_TOOL_CALL,
  FinishReason.TOO_MANY_TOOL_CALLS,
];

/** Puts the pieces of a streamed answer together. Gemini does not always name its calls: then they are numbered. */
class Collected {
  readonly content: Block[] = [];
  counts: GoogleUsage | undefined;
  readonly grounding: GroundingMetadata[] = [];
  finishReason: string | undefined;
  /** Whether usage came with the end of the answer: it is whole then, whatever happens to the connection. */
  isWhole = false;
  constructor(
    private readonly responseId: string,
    private readonly model: string,
  ) {}

  add(chunk: GenerateContentResponse, onText?: (text: string) => void): void {
    const [candidate] = chunk.candidates ?? [];
    for (const part of candidate?.content?.parts ?? []) this.addPart(part, onText);
    if (candidate?.groundingMetadata) this.grounding.push(candidate.groundingMetadata);
    this.finishReason = candidate?.finishReason ?? this.finishReason;
    // A prompt that is refused ends without a candidate.
    if (chunk.promptFeedback?.blockReason) this.finishReason = FinishReason.SAFETY;
    if (!chunk.usageMetadata) return;
    this.counts = mergeGoogleUsage(this.counts, chunk.usageMetadata);
    this.isWhole = this.finishReason !== undefined;
  }

  private addPart({ text, thought, functionCall, thoughtSignature }: Part, onText?: (text: string) => void): void {
    if (functionCall) {
      const id = functionCall.id ?? `call_${this.responseId}_${this.content.length}`;
      const { name = '', args: input = {} } = functionCall;
      const signed = thoughtSignature ? { thoughtSignature, signedBy: this.model } : {};
      this.content.push({ type: 'tool_use', id, name, input, ...signed });
    } else if (text && !thought) {
      const last = this.content.at(-1);
      if (last?.type === 'text') last.text += text;
      else {
        // Pieces add up to the text as events tell it: a line for each block.
        if (this.content.some(({ type }) => type === 'text')) onText?.('\n');
        this.content.push({ type: 'text', text });
      }
      onText?.(text);
    }
  }
}

/** How it is to answer: the older models are told how many tokens their thoughts may have, the newer ones how hard to think. */
function settingsIn({ model, prompt, maxOutputTokens }: ModelRequest): GenerateContentConfig {
  const { settings = {}, callsNoTools: isLast } = prompt;
  const whose = { provider: 'google', model };
  const schema = schemaFor(whose, prompt);
  const { effort, thinkingBudgetTokens, ...rest } = settingsOfCall(whose, settings, { maxOutputTokens, isLast });
  const thinkingLevel = effort?.toUpperCase() as ThinkingLevel | undefined;
  const thinkingConfig = omitUndefined({ thinkingLevel, thinkingBudget: thinkingBudgetTokens });
  const form = schema ? { responseMimeType: 'application/json', responseJsonSchema: schema } : {};
  return { ...omitUndefined(rest), ...form, ...(Object.keys(thinkingConfig).length > 0 ? { thinkingConfig } : {}) };
}

async function stream(client: GoogleGenAI, request: ModelRequest, options: StreamOptions): Promise<StreamedReply> {
  const { model, prompt, maxOutputTokens } = request;
  const result: StreamedReply = { usageIsFinal: false, outputBegan: false };
  const idle = new IdleLimit(options);
  let collected: Collected | undefined;
  const keep = ({ counts, grounding, content, finishReason = '' }: Collected): void => {
    const usage: Billed = { counts, ...groundingFrom(grounding, model) };
    const calls = content.some((block) => block.type === 'tool_use');
    const stopReason = stopReasons[finishReason] ?? (calls ? 'tool_use' : 'end_turn');
    const ended = { stopReason, endedAs: finishReason, isBrokenCall: brokenCalls.includes(finishReason) };
    Object.assign(result, { usageIsFinal: true, usage, content, ...ended } satisfies Partial<StreamedReply>);
  };
  try {
    const chunks = await client.models.generateContentStream({
      model,
      contents: contentsOf(model, prompt),
      config: {
        systemInstruction: prompt.system,
        maxOutputTokens,
        ...settingsIn(request),
        abortSignal: idle.signal,
        ...(prompt.tools.length === 0
          ? {}
          : {
              ...(prompt.callsNoTools
                ? { toolConfig: { functionCallingConfig: { mode: FunctionCallingConfigMode.NONE } } }
                : {}),
              tools: [
                {
                  functionDeclarations: prompt.tools.map(({ name, description, inputSchema }) => ({
                    name,
                    description,
                    parametersJsonSchema: inputSchema,
                  })),
                },
              ],
            }),
      },
    });
    for await (const chunk of chunks) {
      idle.heard();
      if (!collected) {
        collected = new Collected(chunk.responseId ?? String(performance.now()), model);
        result.outputBegan = true;
        await options.onFirstOutput?.();
      }
      collected.add(chunk, options.onText);
      if (collected.isWhole) keep(collected);
    }
    if (collected?.finishReason !== undefined) {
      keep(collected);
      if (!collected.isWhole) result.doubt = doubts.noLastReport;
    } else result.error = new Error('the stream ended early');
  } catch (error) {
    result.error = error;
  } finally {
    idle.end();
  }
  return result;
}

function errorFacts(error: unknown): ErrorFacts {
  if (error instanceof ApiError) {
    // The SDK keeps the body as text and no headers: the wait is in the body's RetryInfo.
    const retryAfter = /"retryDelay":\s*"(\d+(?:\.\d+)?)s"/.exec(error.message)?.[1];
    const type = /"status":\s*"([A-Z_]+)"/.exec(error.message)?.[1];
    return { kind: 'status', status: error.status, type, retryAfter };
  }
  const { name, cause } = (error ?? {}) as { name?: string; cause?: unknown };
  if (name === 'AbortError') return { kind: 'aborted' };
  if (name === 'TypeError' || cause !== undefined) return { kind: 'connection', error };
  return { kind: 'other' };
}
