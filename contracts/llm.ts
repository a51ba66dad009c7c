/** The model activities as workflows see them: types only. Ids, usage and money cross here; words never do. */
import type { BindingQuota } from '../core/budget/commands';
import type { CacheTtl, ModelUsage } from '../core/prices/usage';

export interface PrepareModelCall {
  tenantId: string;
  runId: string;
  model: string;
  maxOutputTokens: number;
  /** The step that the call is for: a reply that was bought for it is used. Workflows of the version before do not say. */
  step?: number;
  /** The prompt's tokens as an earlier plan of this call counted them: it is priced anew, and not counted again. */
  inputTokens?: number;
  /** The provider is to count the prompt: a bound came to nothing, or would take from the answer. */
  count?: true;
  /** What is left of the run's own limit: a prompt whose bound does not fit is counted. Decimal string. */
  leftUsd?: string;
  /** The run's envelope: what is left of it can be had whatever the quotas have left. */
  envelopeId?: string;
  /** Whether to look if the context should be compacted first. */
  compact?: boolean;
  /** For a run that knows its money; absent for others. */
  knows?: KnownMoney;
  /** It is the last one: without tools, and its model is told so. */
  isLast?: boolean;
  /** By how many tokens its prompt will be longer, when it is made later. */
  growsBy?: number;
}

/** What a model is told of its money, and what is held for its last call. */
export interface KnownMoney {
  /** The run or the turn that the limit is of. */
  of: string;
  /** The limit of all of it. Decimal string. */
  limitUsd: string;
  /** What is left of the limit, with what is held for a last call. Decimal string. */
  leftUsd: string;
}

/** A step's reply that is there. */
export interface BoughtReply {
  /** Absent where nobody knows who bought it. */
  operationId?: string;
  reply: ModelReply;
  /** What its tools answered is there too: nothing is to be asked or run. */
  toolsAnswered?: boolean;
}

/** What one call needs, fixed before it reserves so that a repeat asks for the same. */
export interface ModelCallPlan {
  model: string;
  priceVersion: string;
  /** The prompt's tokens, an upper bound. */
  inputTokens: number;
  /** They were bounded by what is sent; otherwise the provider counted them. */
  isBound?: true;
  /** How long its provider is asked to keep the prompt, which the amount pays for; absent where it is not asked. */
  cacheWriteTtl?: CacheTtl;
  maxOutputTokens: number;
  amountUsd: string;
  /** The least of use: the prompt and a short answer. */
  minimumUsd: string;
  /** What a last call after this one may cost, whose prompt has its answer in it and what tools say to that. Decimal string. */
  lastCallUsd?: string;
  /** Tools are not to be called. */
  isLast?: true;
  /** The context is too large: sum up what came up to this message first. */
  compaction?: { throughSequence: number };
  /** The step has its reply already (it came late, or before the workflow was reset): nothing is to be called. */
  bought?: BoughtReply;
}

export interface PrepareCompaction {
  tenantId: string;
  runId: string;
  model: string;
  throughSequence: number;
  /** As with {@link PrepareModelCall}. */
  inputTokens?: number;
}

export interface CompactContext {
  tenantId: string;
  runId: string;
  operationId: string;
  throughSequence: number;
  plan: ModelCallPlan;
  grantedUsd: string;
}

export interface CallModel {
  tenantId: string;
  runId: string;
  operationId: string;
  step: number;
  plan: ModelCallPlan;
  grantedUsd: string;
  /**
   * Whether an answer that is none, or does not fit its schema, may be asked for once more. Absent of a last call; workflows of the version
   * before say it of answers by a schema alone.
   */
  mayRepair?: boolean;
}

export interface ToolCall {
  toolUseId: string;
  name: string;
}

export interface ModelReply {
  stopReason: string;
  toolCalls: ToolCall[];
  usage: ModelUsage;
  costUsd: string;
  /** It is no answer, or does not fit the schema that answers have to: its model was told what is wrong, or was told so before. */
  misfit?: 'told' | 'again';
  /** It was cut off, since this limit of the tenant, the user or a label left less for it than was planned: what it was granted. */
  cutBy?: { quota: BindingQuota; grantedUsd: string };
  /** There are no words in it. */
  isWordless?: true;
  /** Its cost cannot be told: it counts as what was granted, unverified. */
  isUnverified?: boolean;
}

/** Runs on the runs queue. */
export interface LlmActivities {
  /** Bounds the prompt's tokens, or has them counted (free), and prices the call. */
  prepareModelCall(request: PrepareModelCall): Promise<ModelCallPlan>;
  /** The same as a local activity, where no provider has to be asked; null where one has to. */
  prepareQuickly(request: PrepareModelCall): Promise<ModelCallPlan | null>;
  /** The paid call: claims, streams, keeps what came. */
  callModel(request: CallModel): Promise<ModelReply>;
  /** Counts and prices the call that sums older messages up. */
  prepareCompaction(request: PrepareCompaction): Promise<ModelCallPlan>;
  /** The paid call that sums up. */
  compactContext(request: CompactContext): Promise<{ costUsd: string }>;
}
