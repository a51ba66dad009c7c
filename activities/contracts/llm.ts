/** The model activities as workflows see them: types only. Ids, usage and money cross here; words never do. */
import type { ModelUsage } from '../../core/usage';

export interface PrepareModelCall {
  tenantId: string;
  runId: string;
  model: string;
  maxOutputTokens: number;
}

/** What one call needs, fixed before it reserves so that a repeat asks for the same. */
export interface ModelCallPlan {
  model: string;
  priceVersion: string;
  inputTokens: number;
  maxOutputTokens: number;
  amountUsd: string;
  /** The least of use: the prompt and a short answer. */
  minimumUsd: string;
}

export interface CallModel {
  tenantId: string;
  runId: string;
  operationId: string;
  step: number;
  plan: ModelCallPlan;
  grantedUsd: string;
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
}

/** Runs on the runs queue. */
export interface LlmActivities {
  /** Counts the prompt's tokens (free) and prices the call. */
  prepareModelCall(request: PrepareModelCall): Promise<ModelCallPlan>;
  /** The paid call: claims, streams, keeps what came. */
  callModel(request: CallModel): Promise<ModelReply>;
}
