/**
 * What a provider of models is to the rest of the product: it counts a prompt, streams one answer, and says what its
 * errors mean for money. Transcripts are kept in one form for all of them, Anthropic's content blocks; each provider turns
 * them into its own. What only one provider understands (a signed thought, say) is kept as `opaque` and goes back to it alone.
 */
import type { ModelPrice } from '../../core/prices/prices';
import type { CacheTtl, ModelUsage, UsageModifiers } from '../../core/prices/usage';
import type { Brought, CallFailure, FailureMoment } from '../../core/prices/call-failures';
import { isToolName } from '../../core/agent/tools';
import type { AnswerSchema } from '../../core/agent/answer-schema';
import type { ModelSettings } from '../../core/agent/model-settings';

export type Block =
  | { type: 'text'; text: string }
  /** Signed with a thought by the model that is named, or by another of its provider's in what was kept before models were. */
  | { type: 'tool_use'; id: string; name: string; input: unknown; thoughtSignature?: string; signedBy?: string }
  | { type: 'tool_result'; tool_use_id: string; content: string; is_error?: boolean }
  /** An image or a PDF, in base64: of the run, and no part of its transcript. */
  | { type: 'file'; name: string; mediaType: string; data: string }
  /** Of one model, where it says of which: another may not be shown it. */
  | { type: 'opaque'; provider: string; model?: string; value: unknown };

export interface PromptMessage {
  role: 'user' | 'assistant';
  content: Block[];
}

/** A tool that the model may call. */
export interface ToolSpec {
  name: string;
  description: string;
  /** JSON Schema of its input. */
  inputSchema: Record<string, unknown>;
}

export interface Prompt {
  system: string;
  messages: PromptMessage[];
  tools: ToolSpec[];
  /** It is to be answered without any: they are named all the same, since they are where a cached prompt begins. */
  callsNoTools?: true;
  /** How it is to be answered, as the run asks for it. */
  settings?: ModelSettings;
  /** The form of its answer, where its provider can make one of it. */
  answerSchema?: AnswerSchema;
  /** What was said is not told as it was: thoughts that came of it are of other words. */
  isRetold?: true;
}

export interface ModelRequest {
  model: string;
  /** What the call was priced with: some choices exist only for models that have a price for them. */
  price: ModelPrice;
  prompt: Prompt;
  maxOutputTokens: number;
  /** How long to keep the prompt for the calls that go on from it, where the provider has to be asked. */
  cacheWriteTtl?: CacheTtl | undefined;
  /** The same for calls whose prompts begin alike: a provider that caches by itself sends them to where its cache is. */
  cacheKey?: string;
}

export interface StreamOptions {
  signal: AbortSignal;
  /** A stream that is silent for this long is ended: a connection may hang without an error. */
  idleMs: number;
  onFirstOutput?: () => Promise<void> | void;
  /** Each piece of the answer's text, as it comes. */
  onText?: (text: string) => void;
}

/** Why an answer ended, in one form for all providers. */
export type StopReason = 'end_turn' | 'tool_use' | 'max_tokens' | 'refusal';

export interface StreamedReply {
  /** Present when the whole message arrived. */
  content?: Block[];
  stopReason?: StopReason;
  /** How the provider itself names that end. */
  endedAs?: string;
  /** A tool was to be called, and the provider could not read how: what was said beside that is no answer. */
  isBrokenCall?: boolean;
  /** The last usage that was reported, as the provider writes it. */
  usage?: unknown;
  /** Whether `usage` is final: it came with, or after, the end of the content. */
  usageIsFinal: boolean;
  /** The provider ended the response as failed and said what it used: that is billed, and there is no answer. */
  hasFailed?: boolean;
  /** Why `usage` cannot be all that is billed, although it is final. */
  doubt?: string;
  /** The provider counted what `usage` says and bills nothing of it. */
  isNotBilled?: boolean;
  /** The prompt was counted without thoughts that are in it, and that a later call is billed for: what it came to is no base of theirs. */
  leavesThoughtsOut?: true;
  /** Whether something was generated: before that, a refusal is surely not billed. */
  outputBegan: boolean;
  /** Why the stream ended early. */
  error?: unknown;
}

/** How long a provider may take until it begins to answer, and for counting tokens. What follows has its own limits: see paid-call. */
export const providerLimits = { callMs: 600_000, countMs: 30_000 } as const;

/**
 * Of every request to a provider: a redirect is an answer like any other. Followed, it would take prompt and key to whoever it names, up to
 * twenty times over.
 */
export const noRedirects = { redirect: 'manual' } as const;

export interface ModelProvider {
  /** Tokens of a prompt. Free at every provider. */
  countTokens(model: string, prompt: Prompt): Promise<number>;
  /** What its requests may be served with beyond the standard, as far as that changes their price: for the estimate. */
  modifiersFor(price: ModelPrice): UsageModifiers;
  /** Streams one message. Never throws for what happens on the wire: that is in the result. */
  stream(request: ModelRequest, options: StreamOptions): Promise<StreamedReply>;
  /** @throws UsageError when the report cannot be billed. */
  usageOf(reply: StreamedReply, price: ModelPrice): ModelUsage;
  failureOf(error: unknown, state: Omit<FailureMoment, 'nowMs'>): CallFailure;
}

/** What a prompt has in it that not every provider takes. */
export function broughtBy({ messages, tools }: Prompt): Brought[] {
  const showsFile = messages.some(({ content }) => content.some(({ type }) => type === 'file'));
  const hasOwnTools = tools.some(({ name }) => !isToolName(name));
  return [...(showsFile ? (['file'] as const) : []), ...(hasOwnTools ? (['tools'] as const) : [])];
}

/** Providers that a worker has a key for, by the name that prices use. */
export type ModelProviders = Partial<Record<string, ModelProvider>>;

/** In a process that stood still timers end before what came meanwhile is read: it is given so long for that. */
const lookAgainMs = 500;

/** Ends a stream that is silent for too long, and hands on the caller's own wish to stop. */
export class IdleLimit {
  private readonly idle = new AbortController();
  private timer: NodeJS.Timeout | undefined;
  readonly signal: AbortSignal;

  constructor({ signal, idleMs }: StreamOptions) {
    this.signal = AbortSignal.any([signal, this.idle.signal]);
    this.idleMs = idleMs;
    this.heard();
  }
  private readonly idleMs: number;

  /** Something came: the silence begins anew. */
  heard(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.timer = setTimeout(() => this.idle.abort(), lookAgainMs);
    }, this.idleMs);
  }

  end(): void {
    clearTimeout(this.timer);
  }
}
